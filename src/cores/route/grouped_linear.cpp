#include "cores/route/dispatch.h"
#include "cores/route/packed.h"
#include "kernels/gemm.h"
#include "ops/rows.h"

namespace effllm {
namespace {

enum Input { kX, kWeight, kStarts, kTransposed };

class GroupedLinearOp final : public Op {
 public:
  explicit GroupedLinearOp(double share) : share_(share) {}
  std::string_view name() const override { return "grouped_linear"; }
  Outputs infer(std::span<const Tensor> in) const override {
    const int64_t experts = in[kStarts].numel() - 1;
    require(in[kStarts].dtype() == DType::i64 && experts >= 1 && in[kX].shape().rank() == 2 &&
                in[kWeight].shape().rank() == 2 && in[kWeight].dim(0) % experts == 0 &&
                in[kX].cols() == in[kWeight].cols() && in[kX].dtype() == in[kWeight].dtype(),
            "grouped_linear: rows{} for a weight{} of {} experts", in[kX].shape().str(), in[kWeight].shape().str(),
            experts);
    require(!in[kTransposed].defined() || in[kTransposed].shape() == Shape{in[kWeight].dim(1), in[kWeight].dim(0)},
            "grouped_linear: {} is not the transposed copy of {}", in[kTransposed].shape().str(),
            in[kWeight].shape().str());
    return {{in[kX].shape().with(1, in[kWeight].dim(0) / experts), in[kX].dtype()}};
  }
  Cost cost(std::span<const Tensor> in) const override {
    const auto experts = static_cast<double>(in[kStarts].numel() - 1),
               size = static_cast<double>(size_of(in[kX].dtype())), rows = share_ * static_cast<double>(in[kX].rows()),
               n_in = static_cast<double>(in[kX].cols()), weights = static_cast<double>(in[kWeight].numel()),
               n_out = weights / n_in / experts, product = 2 * rows * n_in * n_out;
    return {product, 2 * product, size * (rows * (n_in + n_out) + weights),
            size * (2 * rows * (n_in + n_out) + 3 * weights), product};
  }
  Keeps keeps() const override { return {.inputs = 1 << kX | 1 << kWeight | 1 << kStarts}; }
  void forward(Forward& c) override {
    dispatch_float(c.in(kX).dtype(), [&]<class T>() {
      const View<const T> x = c.in(kX).view<T>();
      const View<T> y = c.out(0).view<T>();
      const bool copied = c.in(kTransposed).defined();
      const View<const T> w = c.in(copied ? kTransposed : kWeight).view<T>();
      each(c.in(kStarts), [&](int64_t e, int64_t from, int64_t n) {
        const T* own = copied ? w.columns(e * y.cols, y.cols).data : w.row(e * y.cols);
        parallel_gemm<T>(false, !copied, n, y.cols, x.cols, x.row(from), x.stride, own, w.stride, y.row(from), y.stride,
                         false);
      });
      clear_unused(y, c.in(kStarts));
    });
  }
  void backward(Backward& c) override {
    const Sink d_x = c.sink(kX), d_weight = c.sink(kWeight);
    dispatch_float(c.dtype(), [&]<class T>() {
      const View<const T> x = c.in(kX).view<T>(), w = c.in(kWeight).view<T>(), g = c.grad(0).view<T>();
      const View<T> dx = d_x.into.defined() ? d_x.into.view<T>() : View<T>{};
      const View<T> dw = d_weight.into.defined() ? d_weight.into.view<T>() : View<T>{};
      each(c.in(kStarts), [&](int64_t e, int64_t from, int64_t n) {
        if (dx)
          parallel_gemm<T>(false, false, n, w.cols, g.cols, g.row(from), g.stride, w.row(e * g.cols), w.stride,
                           dx.row(from), dx.stride, d_x.accumulate);
        if (dw)  // of no rows: zeros, or nothing more
          parallel_gemm<T>(true, false, g.cols, w.cols, n, g.row(from), g.stride, x.row(from), x.stride,
                           dw.row(e * g.cols), dw.stride, d_weight.accumulate);
      });
      if (dx && !d_x.accumulate) clear_unused(dx, c.in(kStarts));
    });
  }

 private:
  // f(expert, first row, rows)
  template <class F>
  static void each(const Tensor& starts, F&& f) {
    const int64_t* s = starts.data<int64_t>();
    for (int64_t e = 0; e + 1 < starts.numel(); ++e) f(e, s[e], s[e + 1] - s[e]);
  }
  double share_;
};

}  // namespace

Tensor grouped_linear(const Tensor& packed, const Tensor& weight, const Dispatch& to, const Tensor& transposed,
                      double share) {
  return run(std::make_unique<GroupedLinearOp>(share), {packed, weight, to.starts, transposed});
}

}  // namespace effllm
