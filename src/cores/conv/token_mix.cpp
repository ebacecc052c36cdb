#include "cores/conv/token_mix.h"

#include "cores/common/segments.h"
#include "kernels/parallel.h"
#include "kernels/token_mix.h"

namespace effllm {
namespace {

enum Input { kX, kBefore, kSegments, kMix, kM };

class TokenMixOp final : public Op {
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
    for (int i : {kBefore, kMix, kM})
      if (const Tensor& t = in[static_cast<size_t>(i)]; t.defined())
        require(t.dtype() == type, "token_mix: inputs of type {} and {}", to_string(type), to_string(t.dtype()));
    require_segments(name(), in[kSegments], x[0], x[1]);
    return {{y, type}, {last, type}};
  }
  Cost cost(std::span<const Tensor> in) const override {
    const auto x = static_cast<double>(in[kX].numel()), n = x * static_cast<double>(in[kMix].rows()),
               size = static_cast<double>(size_of(in[kX].dtype())), m = in[kM].defined() ? n : 0;
    return {3 * n + m, 7 * n + 2 * m, size * (x + n + m), size * (2 * x + n + 2 * m)};
  }
  Keeps keeps() const override { return {.inputs = 1 << kX | 1 << kBefore | 1 << kSegments | 1 << kMix | 1 << kM}; }

  void forward(Forward& c) override {
    const DocumentStarts starts(c.in(kSegments));
    const int64_t batch = c.in(kX).dim(0), tokens = c.in(kX).dim(1), columns = c.in(kX).cols();
    dispatch_float(c.in(kX).dtype(), [&]<class T>() {
      for_blocks(batch, tokens, columns, [&](int64_t b, int64_t from, int64_t n) {
        const TokenMix<T> p = of<T>(c, starts, b, from, n);
        kernel::token_mix<T>(p, c.out(0).view<T>().part(b * tokens, tokens).columns(from, n));
        std::copy_n(p.x.row(tokens - 1), n, c.out(1).view<T>().row(b) + from);
      });
    });
  }

  void backward(Backward& c) override {
    const DocumentStarts starts(c.in(kSegments));
    const int64_t batch = c.in(kX).dim(0), tokens = c.in(kX).dim(1), columns = c.in(kX).cols();
    const Sink dx = c.sink(kX), d_before = c.sink(kBefore), d_mix = c.sink(kMix), dm = c.sink(kM);
    if (d_mix.into.defined() && !d_mix.accumulate) fill(d_mix.into, 0);
    const Tensor dy = c.grad(0).defined() ? c.grad(0) : Tensor::zeros(c.out_shape(0), c.dtype());
    dispatch_float(c.dtype(), [&]<class T>() {
      const auto rows = [&](const Tensor& t, int64_t b, int64_t from, int64_t n) {
        return t.defined() ? t.view<T>().part(b * tokens, tokens).columns(from, n) : View<T>{};
      };
      const auto row = [](const Tensor& t, int64_t r, int64_t from) {
        return t.defined() ? t.view<T>().row(r) + from : nullptr;
      };
      // Threads share out columns: the gradient of mix adds up over sequences in order.
      for_blocks(1, batch * tokens, columns, [&](int64_t, int64_t from, int64_t n) {
        for (int64_t b = 0; b < batch; ++b)
          kernel::token_mix_backward<T>(
              of<T>(c, starts, b, from, n),
              {rows(dy, b, from, n), row(c.grad(1), b, from), rows(dx.into, b, from, n), rows(dm.into, b, from, n),
               row(d_mix.into, 0, from), d_mix.into.stride(), row(d_before.into, b, from), dx.accumulate, dm.accumulate,
               d_before.accumulate});
      });
    });
  }

 private:
  template <class F>
  static void for_blocks(int64_t batch, int64_t tokens, int64_t columns, F&& f) {
    constexpr int64_t kWorth = 1 << 15;
    const int64_t blocks = (columns + kTokenMixColumns - 1) / kTokenMixColumns;
    parallel_for(batch * blocks, 1 + kWorth / (tokens * std::min(kTokenMixColumns, columns) + 1),
                 [&](int64_t i, int64_t end) {
                   for (; i < end; ++i) {
                     const int64_t from = i % blocks * kTokenMixColumns;
                     f(i / blocks, from, std::min(kTokenMixColumns, columns - from));
                   }
                 });
  }
  template <class T, class Pass>
  static TokenMix<T> of(const Pass& c, const DocumentStarts& starts, int64_t b, int64_t from, int64_t n) {
    const int64_t tokens = c.in(kX).dim(1);
    const auto part = [&](const Tensor& t) -> View<const T> {
      return t.defined() ? t.view<T>().part(b * tokens, tokens).columns(from, n) : View<T>{};
    };
    const View<const T> mix = c.in(kMix).template view<T>();
    return {.x = part(c.in(kX)),
            .before = c.in(kBefore).defined() ? c.in(kBefore).template view<T>().row(b) + from : nullptr,
            .starts = starts.row(b),
            .mix = mix.data + from,
            .mix_stride = mix.stride,
            .m = part(c.in(kM)),
            .parts = mix.rows,
            .step = mix.cols};
  }
};

}  // namespace

TokenMixResult token_mix(const Tensor& x, const Tensor& before, const Tensor& segments, const Tensor& mix,
                         const Tensor& m) {
  auto out = run_many(std::make_unique<TokenMixOp>(), {x, before, segments, mix, m});
  return {std::move(out[0]), std::move(out[1])};
}

}  // namespace effllm
