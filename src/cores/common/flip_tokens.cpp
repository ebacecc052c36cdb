#include "cores/common/flip_tokens.h"

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
    require(s.rank() == 3 && is_float(in[0].dtype()), "flip_tokens: {} is not [B, T, C]", s.str());
    require_segments(name(), in[1], s[0], s[1]);
    return {{s, in[0].dtype()}};
  }
  Cost cost(std::span<const Tensor> in) const override {
    const auto bytes = numbers(in[0]) * bytes_of_number(in[0]);
    return {0, 0, 2 * bytes, 2 * bytes};
  }
  Keeps keeps() const override { return {.inputs = 2}; }
  void forward(Forward& c) override { flip(c.in(0), c.in(1), c.out(0), false); }
  void backward(Backward& c) override {  // the order is its own inverse
    if (const Sink s = c.sink(0)) flip(c.grad(0), c.in(1), s.into, s.accumulate);
  }

 private:
  static void flip(const Tensor& x, const Tensor& segments, const Tensor& y, bool add) {
    const int64_t tokens = x.dim(1);
    const DocumentStarts starts(segments);
    dispatch_float(x.dtype(), [&]<class T>() {
      parallel_for(x.dim(0), 1, [&](int64_t b, int64_t) {
        const View<const T> from = x.view<T>().part(b * tokens, tokens);
        const View<T> to = y.view<T>().part(b * tokens, tokens);
        for (int64_t begin = 0; begin < tokens;) {
          const int64_t end = document_end(starts.row(b), begin, tokens);
          const View<const T> backwards{from.row(end - 1), end - begin, from.cols, -from.stride};
          kernel::scale<T>(T(1), backwards, to.part(begin, end - begin), add);
          begin = end;
        }
      });
    });
  }
};

}  // namespace

Tensor flip_tokens(const Tensor& x, const Tensor& segments) {
  return run(std::make_unique<FlipTokensOp>(), {x, segments});
}

}  // namespace effllm
