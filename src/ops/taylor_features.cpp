#include "ops/taylor_features.h"

#include <cmath>

#include "kernels/linear_attention.h"
#include "ops/rows.h"

namespace effllm {
namespace {

class TaylorFeaturesOp final : public FloatOp<TaylorFeaturesOp> {
 public:
  explicit TaylorFeaturesOp(int64_t heads) : heads_(heads) {}
  std::string_view name() const override { return "taylor_features"; }
  Outputs infer(std::span<const Tensor> in) const override {
    require(heads_ > 0 && in[0].cols() % heads_ == 0 && in[0].cols() > 0, "taylor_features: {} for {} heads",
            in[0].shape().str(), heads_);
    return {{in[0].shape().with(-1, heads_ * taylor_width(in[0].cols() / heads_)), in[0].dtype()}};
  }
  Cost cost(std::span<const Tensor> in) const override {
    const auto n = static_cast<double>(in[0].rows() * heads_ * taylor_width(in[0].cols() / heads_));
    const auto read = static_cast<double>(in[0].bytes()), size = bytes_of_number(in[0]);
    return {n, 4 * n, read + size * n, 2 * read + size * n};
  }
  Keeps keeps() const override { return {.inputs = 1}; }
  template <class T>
  void forward_in(Forward& c) {
    const View<const T> x = c.in(0).view<T>();
    const auto y = c.out(0).view<T>();
    each<T>(x, y, [&](int64_t r, int64_t n, int64_t h, const Factors<T>& k) {
      kernel::taylor_features<T>(part(x, r, n, h), k.a, k.b, k.half, part(y, r, n, h));
    });
  }
  template <class T>
  void backward_in(Backward& c) {
    const Sink s = c.sink(0);
    if (!s) return;
    const View<const T> x = c.in(0).view<T>(), dy = c.grad(0).view<T>();
    const auto dx = s.into.view<T>();
    each<T>(x, dy, [&](int64_t r, int64_t n, int64_t h, const Factors<T>& k) {
      kernel::taylor_features_backward<T>(part(x, r, n, h), k.a, k.b, k.half, part(dy, r, n, h), part(dx, r, n, h),
                                          s.accumulate);
    });
  }

 private:
  template <class T>
  struct Factors {
    T a, b, half;  // f^-1/4, f^-1/2, 2^-1/2
  };
  template <class V>
  V part(V x, int64_t r, int64_t n, int64_t h) const {
    return x.part(r, n).columns(h * (x.cols / heads_), x.cols / heads_);
  }
  // use(first row, rows, head, factors) over blocks of rows.
  template <class T, class F>
  void each(View<const T> x, View<const T> y, F&& use) const {
    const double root = std::sqrt(static_cast<double>(x.cols / heads_));
    const Factors<T> k{static_cast<T>(1 / std::sqrt(root)), static_cast<T>(1 / root), static_cast<T>(std::sqrt(0.5))};
    for_row_blocks(y.rows, [&](int64_t r, int64_t n) {
      for (int64_t h = 0; h < heads_; ++h) use(r, n, h, k);
    });
  }

  int64_t heads_;
};

}  // namespace

Tensor taylor_features(const Tensor& x, int64_t heads) { return run(std::make_unique<TaylorFeaturesOp>(heads), {x}); }

}  // namespace effllm
