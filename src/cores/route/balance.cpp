#include "cores/route/balance.h"

#include <cmath>
#include <limits>

#include "ops/rows.h"

namespace effllm {
namespace {

class WeightedTotalOp final : public Op {
 public:
  explicit WeightedTotalOp(double factor) : factor_(factor) {}
  std::string_view name() const override { return "weighted_total"; }
  Outputs infer(std::span<const Tensor> in) const override {
    const Shape &p = in[0].shape(), &w = in[1].shape();
    require(p.rank() == 3 && in[1].dtype() == DType::f64 && (w == Shape{p[2]} || w == Shape{p[0], p[2]}),
            "weighted_total: weights{} of {} for p{}", w.str(), to_string(in[1].dtype()), p.str());
    return {{{1}, DType::f64}};
  }
  Cost cost(std::span<const Tensor> in) const override {
    const auto n = static_cast<double>(in[0].numel()), bytes = static_cast<double>(in[0].bytes());
    return {2 * n, 2 * n, bytes, bytes};
  }
  Keeps keeps() const override { return {.inputs = 2}; }
  void forward(Forward& c) override {
    double sum = 0;
    dispatch_float(c.in(0).dtype(), [&]<class T>() {
      const View<const T> p = c.in(0).view<T>();
      for (int64_t r = 0; r < p.rows; ++r) {
        const double* w = weights_of(c.in(1), r, c.in(0).shape());
        for (int64_t e = 0; e < p.cols; ++e) sum += w[e] * static_cast<double>(p.row(r)[e]);
      }
    });
    *c.out(0).data<double>() = factor_ * sum;
  }
  void backward(Backward& c) override {
    if (!c.wants(0)) return;
    const Sink s = c.sink(0);
    const double g = factor_ * *c.grad(0).data<double>();
    dispatch_float(c.dtype(), [&]<class T>() {
      const View<T> d = s.into.view<T>();
      for (int64_t r = 0; r < d.rows; ++r) {
        const double* w = weights_of(c.in(1), r, c.in_shape(0));
        for (int64_t e = 0; e < d.cols; ++e)
          d.row(r)[e] = (s.accumulate ? d.row(r)[e] : T(0)) + static_cast<T>(g * w[e]);
      }
    });
  }

 private:
  static const double* weights_of(const Tensor& weight, int64_t row, const Shape& p) {
    return weight.data<double>() + (weight.shape().rank() == 2 ? row / p[1] * p[2] : 0);
  }
  double factor_;
};

class EntropiesOp final : public Op {
 public:
  std::string_view name() const override { return "entropies"; }
  Outputs infer(std::span<const Tensor> in) const override {
    require(is_float(in[0].dtype()), "entropies: of numbers, not {}", to_string(in[0].dtype()));
    return {{{1}, DType::f64}};
  }
  Cost cost(std::span<const Tensor> in) const override {
    const auto n = static_cast<double>(in[0].numel()), bytes = static_cast<double>(in[0].bytes());
    return {12 * n, 12 * n, bytes, 2 * bytes};
  }
  Keeps keeps() const override { return {.inputs = 1}; }
  void forward(Forward& c) override {
    double sum = 0;
    dispatch_float(c.in(0).dtype(), [&]<class T>() {
      const View<const T> p = c.in(0).view<T>();
      for (int64_t r = 0; r < p.rows; ++r)
        for (int64_t e = 0; e < p.cols; ++e)
          if (const auto v = static_cast<double>(p.row(r)[e]); v > 0) sum -= v * std::log(v);
    });
    *c.out(0).data<double>() = sum;
  }
  void backward(Backward& c) override {  // dp = -(log p + 1), of the smallest number where p is none
    if (!c.wants(0)) return;
    const Sink s = c.sink(0);
    const double g = *c.grad(0).data<double>();
    dispatch_float(c.dtype(), [&]<class T>() {
      const View<const T> p = c.in(0).view<T>();
      const View<T> d = s.view<T>();
      for (int64_t r = 0; r < d.rows; ++r)
        for (int64_t e = 0; e < d.cols; ++e) {
          const double v = std::max(static_cast<double>(p.row(r)[e]), double{std::numeric_limits<float>::min()});
          d.row(r)[e] = (s.accumulate ? d.row(r)[e] : T(0)) + static_cast<T>(-g * (std::log(v) + 1));
        }
    });
  }
};

}  // namespace

Tensor entropies(const Tensor& p) { return run(std::make_unique<EntropiesOp>(), {p}); }

Tensor weighted_total(const Tensor& p, const Tensor& weight, double factor) {
  return run(std::make_unique<WeightedTotalOp>(factor), {p, weight});
}

}  // namespace effllm
