#include "ops/logistic_loss.h"

#include <cmath>

#include "ops/rows.h"

namespace effllm {
namespace {

class LogisticLossOp final : public Op {
 public:
  std::string_view name() const override { return "logistic_loss"; }
  Outputs infer(std::span<const Tensor> in) const override {
    require(in[0].shape() == in[1].shape() && in[0].dtype() == in[1].dtype() && is_float(in[0].dtype()),
            "logistic_loss: logits{} for targets{}", in[0].shape().str(), in[1].shape().str());
    return {{{1}, DType::f64}};
  }
  Cost cost(std::span<const Tensor> in) const override { return per_number(in[0], {18, 12, 2, 3}); }
  Keeps keeps() const override { return {.inputs = 3}; }
  void forward(Forward& c) override {
    double sum = 0;
    each(c.in(0), c.in(1), [&](int64_t, int64_t, double z, double y) {
      sum += std::max(z, 0.0) - y * z + std::log1p(std::exp(-std::abs(z)));
    });
    *c.out(0).data<double>() = sum;
  }
  void backward(Backward& c) override {
    if (!c.wants(0)) return;
    const Sink s = c.sink(0);
    const double g = *c.grad(0).data<double>();
    dispatch_float(c.dtype(), [&]<class T>() {
      const View<T> d = s.into.view<T>();
      each(c.in(0), c.in(1), [&](int64_t r, int64_t i, double z, double y) {
        const T own = static_cast<T>(g * (1 / (1 + std::exp(-z)) - y));
        d.row(r)[i] = s.accumulate ? d.row(r)[i] + own : own;
      });
    });
  }

 private:
  // f(row, column, logit, target)
  template <class F>
  static void each(const Tensor& logit, const Tensor& target, F&& f) {
    dispatch_float(logit.dtype(), [&]<class T>() {
      const View<const T> z = logit.view<T>(), y = target.view<T>();
      for (int64_t r = 0; r < z.rows; ++r)
        for (int64_t i = 0; i < z.cols; ++i)
          f(r, i, static_cast<double>(z.row(r)[i]), static_cast<double>(y.row(r)[i]));
    });
  }
};

}  // namespace

Tensor logistic_loss(const Tensor& logit, const Tensor& target) {
  return run(std::make_unique<LogisticLossOp>(), {logit, target.untracked()});
}

}  // namespace effllm
