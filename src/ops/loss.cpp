#include "ops/loss.h"

#include <vector>

#include "kernels/loss.h"
#include "kernels/pointwise.h"
#include "ops/linear.h"
#include "ops/rows.h"

namespace effllm {
namespace {

void require_targets(std::string_view op, const Tensor& targets, int64_t rows) {
  require(targets.dtype() == DType::i32 && targets.numel() == rows && targets.is_dense(),
          "{}: {} rows of logits need as many targets (i32, dense), not {}", op, rows, targets.shape().str());
}
void check_targets(const Tensor& targets, int64_t logits) {
  const int32_t* t = targets.data<int32_t>();
  for (int64_t i = 0; i < targets.numel(); ++i)
    if (t[i] >= logits) throw DataError("target {} is not among {} logits", t[i], logits);
}

class CrossEntropyOp final : public Op {
 public:
  explicit CrossEntropyOp(double weight) : weight_(weight) {}
  std::string_view name() const override { return "cross_entropy"; }
  Outputs infer(std::span<const Tensor> in) const override {
    require_targets(name(), in[1], in[0].rows());
    return Outputs({{{1}, DType::f64}, {in[0].shape(), in[0].dtype()}}, 1);
  }
  Cost cost(std::span<const Tensor> in) const override {
    const auto n = static_cast<double>(in[0].numel()), bytes = static_cast<double>(in[0].bytes());
    return {12 * n, n, 2 * bytes, bytes};
  }
  Keeps keeps() const override { return {.outputs = 2}; }
  void forward(Forward& c) override {
    const int32_t* targets = c.in(1).data<int32_t>();
    check_targets(c.in(1), c.in(0).cols());
    dispatch_float(c.in(0).dtype(), [&]<class T>() {
      const View<const T> z = c.in(0).view<T>();
      const auto d = c.recording() ? c.out(1).view<T>() : View<T>{};
      std::vector<double> partial(static_cast<size_t>((z.rows + kRowBlock - 1) / kRowBlock));
      for_row_blocks(z.rows, [&](int64_t r, int64_t n) {
        partial[static_cast<size_t>(r / kRowBlock)] =
            kernel::cross_entropy<T>(z.part(r, n), targets + r, nullptr, static_cast<T>(weight_), 0,
                                     d ? d.part(r, n) : View<T>{}, nullptr, nullptr);
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
                     [&]<class T>() { kernel::scale<T>(static_cast<T>(g), d.view<T>(), d.view<T>(), false); });
    c.give(0, d);
  }

 private:
  double weight_;
};

class LinearCrossEntropyOp final : public Op {
 public:
  LinearCrossEntropyOp(double weight, double z_weight) : weight_(weight), z_weight_(z_weight) {}
  std::string_view name() const override { return "linear_cross_entropy"; }
  Outputs infer(std::span<const Tensor> in) const override {
    const Tensor &x = in[0], &w = in[1], &copy = in[2];
    require(w.shape().rank() == 2 && x.cols() == w.cols() && x.dtype() == w.dtype() &&
                (!copy.defined() || (copy.shape() == Shape{w.dim(1), w.dim(0)} && copy.dtype() == w.dtype())),
            "linear_cross_entropy: x{}, weight{} and its transposed copy{} don't fit", x.shape().str(), w.shape().str(),
            copy.shape().str());
    require_targets(name(), in[3], x.rows());
    require(!in[4].defined() || (in[4].dtype() == DType::f64 && in[4].numel() == x.rows() && in[4].is_dense()),
            "linear_cross_entropy: {} rows need as many weights (f64, dense)", x.rows());
    return Outputs({{{1}, DType::f64}, {{1}, DType::f64}, {{x.rows(), w.dim(0)}, x.dtype()}}, 1);
  }
  Cost cost(std::span<const Tensor> in) const override {
    const auto rows = static_cast<double>(in[0].rows()), n_in = static_cast<double>(in[0].cols()),
               n_out = static_cast<double>(in[1].dim(0)), size = static_cast<double>(size_of(in[0].dtype()));
    const double product = 2 * rows * n_in * n_out, traffic = size * (rows * (n_in + n_out) + n_in * n_out);
    return {product + 12 * rows * n_out, 2 * product, traffic, 2 * traffic, product};
  }
  Keeps keeps() const override { return {.inputs = 3, .outputs = 4}; }
  void forward(Forward& c) override {
    const Tensor &x = c.in(0), &w = c.in(1);
    check_targets(c.in(3), w.dim(0));
    const int32_t* targets = c.in(3).data<int32_t>();
    const double* weights = c.in(4).defined() ? c.in(4).data<double>() : nullptr;
    const Tensor logits = c.recording() ? c.out(2) : Tensor::empty({x.rows(), w.dim(0)}, x.dtype());
    dispatch_float(x.dtype(), [&]<class T>() {
      const View<const T> rows = x.view<T>();
      const auto z = logits.view<T>();
      std::vector<double> partial(static_cast<size_t>((rows.rows + kBlock - 1) / kBlock)), squares(partial);
      parallel_for(rows.rows, kBlock, [&](int64_t from, int64_t to) {
        const View<T> block = z.part(from, to - from);
        Multiplier{w, c.in(2)}(rows.part(from, to - from), block);
        const auto i = static_cast<size_t>(from / kBlock);
        partial[i] = kernel::cross_entropy<T>(block, targets + from, weights ? weights + from : nullptr,
                                              static_cast<T>(weight_), z_weight_, c.recording() ? block : View<T>{},
                                              nullptr, z_weight_ != 0 ? &squares[i] : nullptr);
      });
      double total = 0;
      for (double p : partial) total += p;
      *c.out(0).data<double>() = total * weight_;
      *c.out(1).data<double>() = 0;
      for (double s : squares) *c.out(1).data<double>() += s;
    });
  }
  void backward(Backward& c) override {
    const auto seed = [&](int i) { return c.grad(i).defined() ? *c.grad(i).data<double>() : 0; };
    const double g = seed(0);
    require(seed(1) == g * z_weight_, "linear_cross_entropy: its gradient is that of the loss and {} log^2 Z together",
            z_weight_);
    dispatch_float(c.dtype(), [&]<class T>() {
      const auto d = c.out(2).view<T>();
      const View<const T> x = c.in(0).view<T>(), w = c.in(1).view<T>();
      if (g != 1) kernel::scale<T>(static_cast<T>(g), d, d, false);
      multiply_backward<T>(c, x, w, d);
    });
  }

 private:
  static constexpr int64_t kBlock = 256;  // rows whose logits stay in the cache
  double weight_, z_weight_;
};

}  // namespace

LossAndSquares linear_cross_entropy(const Tensor& x, const Tensor& weight, const Tensor& transposed,
                                    const Tensor& targets, double loss_weight, double z_weight,
                                    const Tensor& row_weights) {
  const std::vector<Tensor> y = run_many(std::make_unique<LinearCrossEntropyOp>(loss_weight, z_weight),
                                         {x, weight, transposed, targets, row_weights});
  return {y[0], y[1]};
}

Tensor cross_entropy(const Tensor& logits, const Tensor& targets, double weight) {
  return run(std::make_unique<CrossEntropyOp>(weight), {logits, targets});
}

}  // namespace effllm
