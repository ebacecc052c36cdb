#include "ops/loss.h"

#include <vector>

#include "ops/rows.h"

namespace effllm {
namespace {

class CrossEntropyOp final : public Op {
 public:
  explicit CrossEntropyOp(double weight) : weight_(weight) {}
  std::string_view name() const override { return "cross_entropy"; }
  Outputs infer(std::span<const Tensor> in) const override {
    require(in[1].dtype() == DType::i32 && in[1].numel() == in[0].rows() && in[1].is_dense(),
            "cross_entropy: {} rows of logits need as many targets (i32, dense), not {}", in[0].rows(),
            in[1].shape().str());
    return Outputs({{{1}, DType::f64}, {in[0].shape(), in[0].dtype()}}, 1);
  }
  Cost cost(std::span<const Tensor> in) const override {
    const auto n = static_cast<double>(in[0].numel()), bytes = static_cast<double>(in[0].bytes());
    return {12 * n, n, 2 * bytes, bytes};
  }
  Keeps keeps() const override { return {.outputs = 2}; }
  void forward(Forward& c) override {
    const int32_t* targets = c.in(1).data<int32_t>();
    for (int64_t i = 0; i < c.in(1).numel(); ++i)
      if (targets[i] >= c.in(0).cols()) throw DataError("target {} is not among {} logits", targets[i], c.in(0).cols());
    dispatch_float(c.in(0).dtype(), [&]<class T>() {
      const View<const T> z = c.in(0).view<T>();
      const auto d = c.recording() ? c.out(1).view<T>() : View<T>{};
      std::vector<double> partial(static_cast<size_t>((z.rows + kRowBlock - 1) / kRowBlock));
      for_row_blocks(z.rows, [&](int64_t r, int64_t n) {
        partial[static_cast<size_t>(r / kRowBlock)] = kernels<T>().cross_entropy(
            z.part(r, n), targets + r, static_cast<T>(weight_), d ? d.part(r, n) : View<T>{}, nullptr);
      });
      double total = 0;
      for (double p : partial) total += p;
      *c.out(0).data<double>() = total * weight_;
    });
  }
  void backward(Backward& c) override {
    if (!c.wants(0)) return;
    const double g = *c.grad(0).data<double>();
    const Tensor& d = c.out(1);
    if (g != 1)
      dispatch_float(d.dtype(),
                     [&]<class T>() { kernels<T>().scale(static_cast<T>(g), d.view<T>(), d.view<T>(), false); });
    c.give(0, d);
  }

 private:
  double weight_;
};

}  // namespace

Tensor cross_entropy(const Tensor& logits, const Tensor& targets, double weight) {
  return run(std::make_unique<CrossEntropyOp>(weight), {logits, targets});
}

}  // namespace effllm
