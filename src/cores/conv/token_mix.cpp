#include "cores/conv/token_mix.h"

#include "cores/common/segments.h"
#include "cores/scan/column_blocks.h"
#include "kernels/token_mix.h"

namespace effllm {
namespace {

enum Input { kX, kBefore, kMix, kM, kSegments };

class TokenMixOp final : public FloatOp<TokenMixOp> {
 public:
  std::string_view name() const override { return "token_mix"; }
  Outputs infer(std::span<const Tensor> in) const override {
    const Shape &x = in[kX].shape(), &mix = in[kMix].shape();
    const DType type = in[kX].dtype();
    require(x.rank() == 3 && x[1] >= 1 && is_float(type) && mix.rank() <= 2 && mix.cols() == x[2],
            "token_mix: x{} and mix{} are not [B, T, D] and [n, D]", x.str(), mix.str());
    const Shape last{x[0], 1, x[2]}, y = x.with(-1, mix.rows() * x[2]);
    require(!in[kBefore].defined() || in[kBefore].shape() == last, "token_mix: before{} for x{}, it should be {}",
            in[kBefore].shape().str(), x.str(), last.str());
    require(!in[kM].defined() || in[kM].shape() == y, "token_mix: m{} for x{}, it should be {}", in[kM].shape().str(),
            x.str(), y.str());
    require_one_type(name(), in.first(kSegments));
    require_segments(name(), in[kSegments], x[0], x[1]);
    return {{y, type}, {last, type}};
  }
  Cost cost(std::span<const Tensor> in) const override {
    const auto x = numbers(in[kX]), n = x * static_cast<double>(in[kMix].rows()), size = bytes_of_number(in[kX]),
               m = in[kM].defined() ? n : 0;
    return {3 * n + m, 7 * n + 2 * m, size * (x + n + m), size * (2 * x + n + 2 * m)};
  }
  Keeps keeps() const override { return {.inputs = 1 << kX | 1 << kBefore | 1 << kSegments | 1 << kMix | 1 << kM}; }

  template <class T>
  void forward_in(Forward& c) {
    const DocumentStarts starts(c.in(kSegments));
    const auto block = [&](int64_t b, int64_t from, int64_t n) {
      const TokenMix<T> p = of<T>(c, starts, b, from, n);
      kernel::token_mix<T>(p, part_or_null<T>(c.out(0), b, from, n));
      std::copy_n(p.x.row(p.x.rows - 1), n, row_or_null<T>(c.out(1), b, from));
    };
    for_column_blocks(c.in(kX).shape(), block, {.columns = kTokenMixColumns});
  }

  template <class T>
  void backward_in(Backward& c) {
    const DocumentStarts starts(c.in(kSegments));
    const Sink dx = c.sink(kX), d_before = c.sink(kBefore);
    const Tensor d_mix = c.sum(kMix), dy = c.whole_grad(0);
    const Sink dm = c.sink(kM);
    const Shape& s = c.in(kX).shape();
    // Threads share out columns: the gradient of mix adds up over sequences in order.
    const auto columns = [&](int64_t, int64_t from, int64_t n) {
      const auto part = [&](const Tensor& t, int64_t b) { return part_or_null<T>(t, b, from, n); };
      for (int64_t b = 0; b < s[0]; ++b)
        kernel::token_mix_backward<T>(
            of<T>(c, starts, b, from, n),
            {part(dy, b), row_or_null<T>(c.grad(1), b, from), part(dx.into, b), part(dm.into, b),
             row_or_null<T>(d_mix, 0, from), d_mix.stride(), row_or_null<T>(d_before.into, b, from), dx.accumulate,
             dm.accumulate, d_before.accumulate});
    };
    for_column_blocks({1, s[0] * s[1], s[2]}, columns, {.columns = kTokenMixColumns});
  }

 private:
  template <class T, class Pass>
  static TokenMix<T> of(const Pass& c, const DocumentStarts& starts, int64_t b, int64_t from, int64_t n) {
    const View<const T> mix = c.in(kMix).template view<T>();
    return {.x = part_or_null<T>(c.in(kX), b, from, n),
            .before = row_or_null<T>(c.in(kBefore), b, from),
            .starts = starts.row(b),
            .mix = mix.data + from,
            .mix_stride = mix.stride,
            .m = part_or_null<T>(c.in(kM), b, from, n),
            .parts = mix.rows,
            .step = mix.cols};
  }
};

}  // namespace

TokenMixResult token_mix(const Tensor& x, const Tensor& before, const Tensor& segments, const Tensor& mix,
                         const Tensor& m) {
  return run_to<TokenMixResult>(std::make_unique<TokenMixOp>(), {x, before, mix, m, segments});
}

}  // namespace effllm
