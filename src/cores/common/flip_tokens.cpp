#include "cores/common/flip_tokens.h"

#include <algorithm>

#include "cores/common/segments.h"
#include "kernels/pointwise.h"
#include "ops/rows.h"

namespace effllm {
namespace {

class FlipTokensOp final : public Op {
 public:
  std::string_view name() const override { return "flip_tokens"; }
  Outputs infer(std::span<const Tensor> in) const override {
    const Shape& s = in[0].shape();
    require(is_float(in[0].dtype()) ? s.rank() == 3 : s.rank() == 2 && in[0].dtype() == DType::i32,
            "flip_tokens: {} of {} are no [B, T, C] of numbers and no ids [B, T]", s.str(), to_string(in[0].dtype()));
    require_segments(name(), in[1], s[0], s[1]);
    return {{s, in[0].dtype(), s.rank() == 2}};
  }
  Cost cost(std::span<const Tensor> in) const override {
    const auto bytes = numbers(in[0]) * bytes_of_number(in[0]);
    return {0, 0, 2 * bytes, 2 * bytes};
  }
  Keeps keeps() const override { return {.inputs = 2}; }
  void forward(Forward& c) override {
    is_float(c.in(0).dtype()) ? flip(c.in(0), c.in(1), c.out(0), false) : flip_ids(c.in(0), c.in(1), c.out(0));
  }
  void backward(Backward& c) override {  // the order is its own inverse
    if (const Sink s = c.sink(0)) flip(c.grad(0), c.in(1), s.into, s.accumulate);
  }

 private:
  static void flip(const Tensor& x, const Tensor& segments, const Tensor& y, bool add) {
    const int64_t tokens = x.dim(1);
    dispatch_float(x.dtype(), [&]<class T>() {
      for_documents(x, segments, [&](int64_t b, int64_t begin, int64_t end) {
        const View<const T> from = x.view<T>().part(b * tokens, tokens);
        const View<T> to = y.view<T>().part(b * tokens, tokens);
        const View<const T> backwards{from.row(end - 1), end - begin, from.cols, -from.stride};
        kernel::scale<T>(T(1), backwards, to.part(begin, end - begin), add);
      });
    });
  }
  static void flip_ids(const Tensor& ids, const Tensor& segments, const Tensor& y) {
    const View<const int32_t> from = ids.view<int32_t>();
    for_documents(ids, segments, [&](int64_t b, int64_t begin, int64_t end) {
      std::reverse_copy(from.row(b) + begin, from.row(b) + end, y.view<int32_t>().row(b) + begin);
    });
  }
  // f(sequence, begin, end) of each document.
  template <class F>
  static void for_documents(const Tensor& x, const Tensor& segments, F&& f) {
    const DocumentStarts starts(segments);
    parallel_for(x.dim(0), 1, [&](int64_t b, int64_t) {
      for (int64_t begin = 0; begin < x.dim(1);) {
        const int64_t end = document_end(starts.row(b), begin, x.dim(1));
        f(b, begin, end);
        begin = end;
      }
    });
  }
};

}  // namespace

Tensor flip_tokens(const Tensor& x, const Tensor& segments) {
  return run(std::make_unique<FlipTokensOp>(), {x, segments});
}

}  // namespace effllm
