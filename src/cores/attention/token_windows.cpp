#include "cores/attention/token_windows.h"

#include <algorithm>

#include "autodiff/float_op.h"
#include "cores/common/segments.h"

namespace effllm {
namespace {

enum Input { kX, kPosition, kCache, kBefore, kSegments };

class TokenWindowsOp final : public FloatOp<TokenWindowsOp> {
 public:
  explicit TokenWindowsOp(const TokenWindowsOptions& o) : o_(o) {}
  std::string_view name() const override { return "token_windows"; }

  Outputs infer(std::span<const Tensor> in) const override {
    const Shape &x = in[kX].shape(), &p = in[kPosition].shape();
    const DType type = in[kX].dtype();
    require(o_.length >= 1 && o_.stride >= 1 && o_.stride <= o_.length && o_.groups >= 1 && o_.rows >= 1,
            "token_windows: {} rows of windows of {} every {}, {} groups", o_.rows, o_.length, o_.stride, o_.groups);
    require(x.rank() == 3 && x[1] >= 1 && x[2] % o_.groups == 0 && p == Shape{o_.length, x[2] / o_.groups} &&
                is_float(type) && in[kPosition].dtype() == type,
            "token_windows: x{} and position{} for {} groups, windows of {}", x.str(), p.str(), o_.groups, o_.length);
    const Shape& cache = in[kCache].shape();
    require(in[kCache].defined() == in[kBefore].defined() &&
                (!in[kCache].defined() || (cache.rank() == 3 && cache == x.with(1, cache[1]) && cache[1] < o_.length &&
                                           in[kCache].dtype() == type && in[kBefore].dtype() == DType::i64 &&
                                           in[kBefore].shape() == Shape{x[0]})),
            "token_windows: cache{} for x{}, it should have fewer than {} tokens", cache.str(), x.str(), o_.length);
    require_segments(name(), in[kSegments], x[0], x[1]);
    return {{{x[0], o_.rows * o_.groups, o_.length * p[1]}, type}};
  }
  Cost cost(std::span<const Tensor> in) const override {
    const auto n = static_cast<double>(in[kX].dim(0) * o_.rows * o_.length * in[kX].cols()),
               size = bytes_of_number(in[kX]);
    return {n, 2 * n, 2 * n * size, 3 * n * size};
  }
  // Of the cache backward needs the shape alone.
  Keeps keeps() const override { return {.inputs = 1 << kBefore | 1 << kSegments}; }

  template <class T>
  void forward_in(Forward& c) {
    fill(c.out(0), 0);
    const View<const T> position = c.in(kPosition).view<T>();
    const View<T> y = c.out(0).view<T>();
    const int64_t n = position.cols;
    each(c.in(kX).shape(), c.in(kCache).shape(), c.in(kBefore), c.in(kSegments),
         [&](int64_t out, int64_t j, bool cached, int64_t row) {
           const T *from = c.in(cached ? kCache : kX).view<T>().row(row), *p = position.row(j);
           for (int64_t g = 0; g < o_.groups; ++g) {
             T* to = y.row(out + g) + j * n;
             for (int64_t k = 0; k < n; ++k) to[k] = from[g * n + k] + p[k];
           }
         });
  }

  template <class T>
  void backward_in(Backward& c) {
    const Tensor dx = c.sum(kX), dp = c.sum(kPosition), d_cache = c.sum(kCache);
    const View<const T> grad = c.grad(0).view<T>();
    const int64_t n = c.in_shape(kPosition)[1];
    const auto add = [n](const T* from, T* to) {
      for (int64_t k = 0; k < n; ++k) to[k] += from[k];
    };
    each(c.in_shape(kX), c.in_shape(kCache), c.in(kBefore), c.in(kSegments),
         [&](int64_t out, int64_t j, bool cached, int64_t row) {
           const Tensor& into = cached ? d_cache : dx;
           for (int64_t g = 0; g < o_.groups; ++g) {
             const T* from = grad.row(out + g) + j * n;
             if (into.defined()) add(from, into.view<T>().row(row) + g * n);
             if (dp.defined()) add(from, dp.view<T>().row(j));
           }
         });
  }

 private:
  // f(first row of the window in the output, j, whether token j of it is cached, its row there or in x)
  template <class F>
  void each(const Shape& x, const Shape& cache, const Tensor& before, const Tensor& segments, F&& f) const {
    const int64_t tokens = x[1], room = cache.rank() == 3 ? cache[1] : 0;
    const DocumentStarts starts(segments);
    for (int64_t b = 0; b < x[0]; ++b) {
      const int64_t cached = before.defined() ? before.data<int64_t>()[b] : 0;
      require(cached >= 0 && cached <= room, "token_windows: {} cached tokens where there is room for {}", cached,
              room);
      int64_t first = 0;
      for (int64_t t = 0; t < tokens;) {
        const uint8_t* s = starts.row(b);
        if (s && s[t]) first = cached + t;
        t = document_end(s, t, tokens);
        const int64_t count = windows_of(cached + t - first, o_);
        require(count == 0 || first / o_.stride + count <= o_.rows,
                "token_windows: {} windows from number {} on in {} rows", count, first / o_.stride, o_.rows);
        for (int64_t i = 0; i < count; ++i)
          for (int64_t j = 0; j < o_.length; ++j) {
            const int64_t at = first + i * o_.stride + j, out = (b * o_.rows + first / o_.stride + i) * o_.groups;
            at < cached ? f(out, j, true, b * room + at) : f(out, j, false, b * tokens + at - cached);
          }
      }
    }
  }

  TokenWindowsOptions o_;
};

}  // namespace

Tensor token_windows(const Tensor& x, const Tensor& position, const TokenWindowsOptions& options,
                     const WindowCache& cache, const Tensor& segments) {
  return run(std::make_unique<TokenWindowsOp>(options), {x, position, cache.tokens, cache.before, segments});
}

}  // namespace effllm
