#include "ops/norm.h"

#include "ops/rows.h"

namespace effllm {
namespace {

class RmsNormOp final : public Op {
 public:
  explicit RmsNormOp(double eps) : eps_(eps) {}
  std::string_view name() const override { return "rms_norm"; }
  Outputs infer(std::span<const Tensor> in) const override {
    const int64_t width = in[1].numel();
    require(in[1].defined() && width > 0 && in[0].cols() % width == 0, "rms_norm: weight{} does not divide x{}",
            in[1].shape().str(), in[0].shape().str());
    return Outputs({{in[0].shape(), in[0].dtype()}, {{in[0].rows() * (in[0].cols() / width)}, in[0].dtype()}}, 1);
  }
  Cost cost(std::span<const Tensor> in) const override {
    const auto n = static_cast<double>(in[0].numel()), bytes = static_cast<double>(in[0].bytes());
    return {4 * n, 10 * n, 2 * bytes, 3 * bytes};
  }
  Keeps keeps() const override { return {.inputs = 3, .outputs = 2}; }
  void forward(Forward& c) override {
    dispatch_float(c.in(0).dtype(), [&]<class T>() {
      const View<const T> x = c.in(0).view<T>();
      const auto y = c.out(0).view<T>();
      const int64_t width = c.in(1).numel(), groups = x.cols / width;
      Tensor unrecorded;  // the kernel writes its statistics in any case
      if (!c.out(1).defined()) unrecorded = Tensor::dense({x.rows * groups}, c.in(0).dtype());
      T* rstd = (c.out(1).defined() ? c.out(1) : unrecorded).data<T>();
      for_row_blocks(x.rows, [&](int64_t r, int64_t n) {
        kernels<T>().rms_norm(x.part(r, n), c.in(1).data<T>(), width, static_cast<T>(eps_), y.part(r, n),
                              rstd + r * groups);
      });
    });
  }
  void backward(Backward& c) override {
    dispatch_float(c.dtype(), [&]<class T>() {
      const View<const T> x = c.in(0).view<T>(), g = c.grad(0).view<T>();
      const int64_t width = c.in(1).numel(), groups = x.cols / width;
      const T *w = c.in(1).data<T>(), *rstd = c.out(1).data<T>();
      const Sink sx = c.sink(0), sw = c.sink(1);
      const auto dx = sx.into.defined() ? sx.into.view<T>() : View<T>{};
      T* dw = sw.into.defined() ? sw.into.data<T>() : nullptr;
      if (in_parallel()) {
        kernels<T>().rms_norm_backward(x, w, width, rstd, g, dx, sx.accumulate, dw, sw.accumulate);
        return;
      }
      if (dx)
        for_row_blocks(x.rows, [&](int64_t r, int64_t n) {
          kernels<T>().rms_norm_backward(x.part(r, n), w, width, rstd + r * groups, g.part(r, n), dx.part(r, n),
                                         sx.accumulate, nullptr, false);
        });
      if (dw) kernels<T>().rms_norm_backward(x, w, width, rstd, g, {}, false, dw, sw.accumulate);
    });
  }

 private:
  double eps_;
};

class LayerNormOp final : public Op {
 public:
  explicit LayerNormOp(double eps) : eps_(eps) {}
  std::string_view name() const override { return "layer_norm"; }
  Outputs infer(std::span<const Tensor> in) const override {
    require(in[1].numel() == in[0].cols() && (!in[2].defined() || in[2].numel() == in[0].cols()),
            "layer_norm: weight{} for x{}", in[1].shape().str(), in[0].shape().str());
    const DType t = in[0].dtype();
    return Outputs({{in[0].shape(), t}, {{in[0].rows()}, t}, {{in[0].rows()}, t}}, 2);
  }
  Cost cost(std::span<const Tensor> in) const override {
    const auto n = static_cast<double>(in[0].numel()), bytes = static_cast<double>(in[0].bytes());
    return {7 * n, 14 * n, 2 * bytes, 3 * bytes};
  }
  Keeps keeps() const override { return {.inputs = 3, .outputs = 6}; }
  void forward(Forward& c) override {
    dispatch_float(c.in(0).dtype(), [&]<class T>() {
      const View<const T> x = c.in(0).view<T>();
      const auto y = c.out(0).view<T>();
      Tensor unrecorded;
      if (!c.out(1).defined()) unrecorded = Tensor::dense({2 * x.rows}, c.in(0).dtype());
      T* mean = c.out(1).defined() ? c.out(1).data<T>() : unrecorded.data<T>();
      T* rstd = c.out(1).defined() ? c.out(2).data<T>() : unrecorded.data<T>() + x.rows;
      const T* bias = c.in(2).defined() ? c.in(2).data<T>() : nullptr;
      for_row_blocks(x.rows, [&](int64_t r, int64_t n) {
        kernels<T>().layer_norm(x.part(r, n), c.in(1).data<T>(), bias, static_cast<T>(eps_), y.part(r, n), mean + r,
                                rstd + r);
      });
    });
  }
  void backward(Backward& c) override {
    dispatch_float(c.dtype(), [&]<class T>() {
      const View<const T> x = c.in(0).view<T>(), g = c.grad(0).view<T>();
      const T *w = c.in(1).data<T>(), *mean = c.out(1).data<T>(), *rstd = c.out(2).data<T>();
      const Sink sx = c.sink(0), sw = c.sink(1), sb = c.sink(2);
      const auto dx = sx.into.defined() ? sx.into.view<T>() : View<T>{};
      T* dw = sw.into.defined() ? sw.into.data<T>() : nullptr;
      T* db = sb.into.defined() ? sb.into.data<T>() : nullptr;
      if (in_parallel()) {
        kernels<T>().layer_norm_backward(x, w, mean, rstd, g, dx, sx.accumulate, dw, sw.accumulate, db, sb.accumulate);
        return;
      }
      if (dx)
        for_row_blocks(x.rows, [&](int64_t r, int64_t n) {
          kernels<T>().layer_norm_backward(x.part(r, n), w, mean + r, rstd + r, g.part(r, n), dx.part(r, n),
                                           sx.accumulate, nullptr, false, nullptr, false);
        });
      if (dw || db)
        kernels<T>().layer_norm_backward(x, w, mean, rstd, g, {}, false, dw, sw.accumulate, db, sb.accumulate);
    });
  }

 private:
  double eps_;
};

}  // namespace

Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps) {
  return run(std::make_unique<RmsNormOp>(eps), {x, weight});
}
Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps) {
  return run(std::make_unique<LayerNormOp>(eps), {x, weight, bias});
}

}  // namespace effllm
