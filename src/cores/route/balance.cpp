#include "cores/route/balance.h"

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

}  // namespace

Tensor weighted_total(const Tensor& p, const Tensor& weight, double factor) {
  return run(std::make_unique<WeightedTotalOp>(factor), {p, weight});
}

}  // namespace effllm
