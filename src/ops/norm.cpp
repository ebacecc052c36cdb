#include "ops/norm.h"

#include <cmath>

#include "kernels/norm.h"
#include "ops/rows.h"

namespace effllm {
namespace {

// Without a weight in the second input groups have `width_` columns, and each is multiplied by `gain_`.
class RmsNormOp final : public FloatOp<RmsNormOp> {
 public:
  explicit RmsNormOp(double eps, int64_t width = 0, double gain = 1) : eps_(eps), width_(width), gain_(gain) {}
  std::string_view name() const override { return "rms_norm"; }
  Outputs infer(std::span<const Tensor> in) const override {
    const int64_t width = width_of(in[1]);
    require(width > 0 && in[0].cols() % width == 0, "rms_norm: groups of {} don't divide x{}", width,
            in[0].shape().str());
    return Outputs({{in[0].shape(), in[0].dtype()}, {{in[0].rows() * (in[0].cols() / width)}, in[0].dtype()}}, 1);
  }
  Cost cost(std::span<const Tensor> in) const override { return per_number(in[0], {4, 10, 2, 3}); }
  Keeps keeps() const override { return {.inputs = 3, .outputs = 2}; }
  template <class T>
  void forward_in(Forward& c) {
    const View<const T> x = c.in(0).view<T>();
    const auto y = c.out(0).view<T>();
    const int64_t width = width_of(c.in(1)), groups = x.cols / width;
    const Tensor weight = weight_of(c.in(1), c.in(0).dtype());
    Tensor unrecorded;  // the kernel writes its statistics in any case
    if (!c.out(1).defined()) unrecorded = Tensor::dense({x.rows * groups}, c.in(0).dtype());
    T* rstd = (c.out(1).defined() ? c.out(1) : unrecorded).data<T>();
    for_row_blocks(x.rows, [&](int64_t r, int64_t n) {
      kernel::rms_norm<T>(x.part(r, n), weight.data<T>(), width, static_cast<T>(eps_), y.part(r, n), rstd + r * groups);
    });
  }
  template <class T>
  void backward_in(Backward& c) {
    const View<const T> x = c.in(0).view<T>(), g = c.grad(0).view<T>();
    const int64_t width = width_of(c.in(1)), groups = x.cols / width;
    const Tensor weight = weight_of(c.in(1), c.dtype());
    const T *w = weight.data<T>(), *rstd = c.out(1).data<T>();
    const Sink sx = c.sink(0), sw = c.sink(1);
    const auto dx = sx.view<T>();
    T* dw = data_or_null<T>(sw.into);
    if (in_parallel()) {
      kernel::rms_norm_backward<T>(x, w, width, rstd, g, dx, sx.accumulate, dw, sw.accumulate);
      return;
    }
    if (dx)
      for_row_blocks(x.rows, [&](int64_t r, int64_t n) {
        kernel::rms_norm_backward<T>(x.part(r, n), w, width, rstd + r * groups, g.part(r, n), dx.part(r, n),
                                     sx.accumulate, nullptr, false);
      });
    if (dw) kernel::rms_norm_backward<T>(x, w, width, rstd, g, {}, false, dw, sw.accumulate);
  }

 private:
  int64_t width_of(const Tensor& weight) const { return weight.defined() ? weight.numel() : width_; }
  Tensor weight_of(const Tensor& weight, DType t) const {
    return weight.defined() ? weight : Tensor::full({width_}, t, gain_);
  }
  double eps_;
  int64_t width_;
  double gain_;
};

class LayerNormOp final : public FloatOp<LayerNormOp> {
 public:
  LayerNormOp(double eps, int64_t groups) : eps_(eps), groups_(groups) {}
  std::string_view name() const override { return "layer_norm"; }
  Outputs infer(std::span<const Tensor> in) const override {
    const auto fits = [&](const Tensor& t) { return !t.defined() || t.numel() == in[0].cols(); };
    require(fits(in[1]) && fits(in[2]), "layer_norm: weight{} for x{}", in[1].shape().str(), in[0].shape().str());
    require(groups_ >= 1 && in[0].cols() % groups_ == 0, "layer_norm: {} groups don't divide x{}", groups_,
            in[0].shape().str());
    const DType t = in[0].dtype();
    const Shape statistics{in[0].rows() * groups_};
    return Outputs({{in[0].shape(), t}, {statistics, t}, {statistics, t}}, 2);
  }
  Cost cost(std::span<const Tensor> in) const override { return per_number(in[0], {7, 14, 2, 3}); }
  Keeps keeps() const override { return {.inputs = 3, .outputs = 6}; }
  template <class T>
  void forward_in(Forward& c) {
    const View<const T> x = c.in(0).view<T>();
    const auto y = c.out(0).view<T>();
    Tensor unrecorded;
    if (!c.out(1).defined()) unrecorded = Tensor::dense({2 * x.rows * groups_}, c.in(0).dtype());
    T* mean = c.out(1).defined() ? c.out(1).data<T>() : unrecorded.data<T>();
    T* rstd = c.out(1).defined() ? c.out(2).data<T>() : unrecorded.data<T>() + x.rows * groups_;
    const T* bias = data_or_null<T>(c.in(2));
    const Tensor weight = weight_of(c.in(1), c.in(0));
    for_row_blocks(x.rows, [&](int64_t r, int64_t n) {
      kernel::layer_norm<T>(x.part(r, n), weight.data<T>(), bias, x.cols / groups_, static_cast<T>(eps_), y.part(r, n),
                            mean + r * groups_, rstd + r * groups_);
    });
  }
  template <class T>
  void backward_in(Backward& c) {
    const View<const T> x = c.in(0).view<T>(), g = c.grad(0).view<T>();
    const Tensor weight = weight_of(c.in(1), c.in(0));
    const T *w = weight.data<T>(), *mean = c.out(1).data<T>(), *rstd = c.out(2).data<T>();
    const int64_t width = x.cols / groups_;
    const Sink sx = c.sink(0), sw = c.sink(1), sb = c.sink(2);
    const auto dx = sx.view<T>();
    T *dw = data_or_null<T>(sw.into), *db = data_or_null<T>(sb.into);
    if (in_parallel()) {
      kernel::layer_norm_backward<T>(x, w, width, mean, rstd, g, dx, sx.accumulate, dw, sw.accumulate, db,
                                     sb.accumulate);
      return;
    }
    if (dx)
      for_row_blocks(x.rows, [&](int64_t r, int64_t n) {
        kernel::layer_norm_backward<T>(x.part(r, n), w, width, mean + r * groups_, rstd + r * groups_, g.part(r, n),
                                       dx.part(r, n), sx.accumulate, nullptr, false, nullptr, false);
      });
    if (dw || db)
      kernel::layer_norm_backward<T>(x, w, width, mean, rstd, g, {}, false, dw, sw.accumulate, db, sb.accumulate);
  }

 private:
  static Tensor weight_of(const Tensor& weight, const Tensor& x) {
    return weight.defined() ? weight : Tensor::full({x.cols()}, x.dtype(), 1);
  }
  double eps_;
  int64_t groups_;
};

}  // namespace

Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps) {
  return run(std::make_unique<RmsNormOp>(eps), {x, weight});
}
Tensor rms_norm(const Tensor& x, int64_t width, double eps) {
  return run(std::make_unique<RmsNormOp>(eps, width), {x, Tensor()});
}
Tensor l2_norm(const Tensor& x, int64_t width, double eps, double length) {
  const auto n = static_cast<double>(width);
  return run(std::make_unique<RmsNormOp>(eps / n, width, length / std::sqrt(n)), {x, Tensor()});
}
Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps, int64_t groups) {
  return run(std::make_unique<LayerNormOp>(eps, groups), {x, weight, bias});
}

}  // namespace effllm
