#include "ops/linear.h"

#include "kernels/gemm.h"
#include "kernels/groups.h"
#include "kernels/pointwise.h"
#include "ops/rows.h"

namespace effllm {

template <class T>
void Multiplier::operator()(View<const T> x, View<T> y) const {
  const bool copied = transposed.defined();
  const View<const T> w = (copied ? transposed : weight).view<T>();
  parallel_gemm<T>(x, false, w, !copied, y, false);
}
template void Multiplier::operator()(View<const float>, View<float>) const;
template void Multiplier::operator()(View<const double>, View<double>) const;

template <class T>
void multiply_backward(Backward& c, View<const T> x, View<const T> w, View<const T> dy) {
  if (const Sink s = c.sink(0)) parallel_gemm<T>(dy, false, w, false, s.view<T>(), s.accumulate);
  if (const Sink s = c.sink(1)) parallel_gemm<T>(dy, true, x, false, s.view<T>(), s.accumulate);
}
template void multiply_backward(Backward&, View<const float>, View<const float>, View<const float>);
template void multiply_backward(Backward&, View<const double>, View<const double>, View<const double>);

namespace {

class LinearOp : public FloatOp<LinearOp> {
 public:
  std::string_view name() const override { return "linear"; }
  Outputs infer(std::span<const Tensor> in) const override {
    require(in[1].shape().rank() == 2 && in[0].cols() == in[1].cols() && in[0].dtype() == in[1].dtype(),
            "linear: x{} needs a weight [out, {}] of {}, not {} of {}", in[0].shape().str(), in[0].cols(),
            to_string(in[0].dtype()), in[1].shape().str(), to_string(in[1].dtype()));
    require(!in[2].defined() || in[2].numel() == in[1].dim(0), "linear: bias{} for {} outputs", in[2].shape().str(),
            in[1].dim(0));
    require(!in[3].defined() || (in[3].shape() == Shape{in[1].dim(1), in[1].dim(0)} && in[3].dtype() == in[1].dtype()),
            "linear: {} is not the transposed copy of {}", in[3].shape().str(), in[1].shape().str());
    return {{in[0].shape().with(-1, in[1].dim(0)), in[0].dtype()}};
  }
  Cost cost(std::span<const Tensor> in) const override {
    const auto rows = static_cast<double>(in[0].rows()), n_in = static_cast<double>(in[0].cols()),
               n_out = static_cast<double>(in[1].dim(0)), size = bytes_of_number(in[0]);
    const double bias = in[2].defined() ? rows * n_out : 0;
    const double product = 2 * rows * n_in * n_out;
    return {product + bias, 2 * product + bias, size * (rows * (n_in + n_out) + n_in * n_out),
            size * (2 * rows * (n_in + n_out) + 3 * n_in * n_out), product};
  }
  Keeps keeps() const override { return {.inputs = 3}; }
  template <class T>
  void forward_in(Forward& c) {
    const auto y = c.out(0).view<T>();
    Multiplier{c.in(1), c.in(3)}(View<const T>(c.in(0).view<T>()), y);
    if (!c.in(2).defined()) return;
    on_rows<T>([&](auto block) { kernel::add_row<T>(block, c.in(2).data<T>(), block); }, c.out(0));
  }
  template <class T>
  void backward_in(Backward& c) {
    const View<const T> x = c.in(0).view<T>(), w = c.in(1).view<T>(), g = c.grad(0).view<T>();
    multiply_backward<T>(c, x, w, g);
    if (const Sink s = c.sink(2)) kernel::column_sum<T>(g, s.into.data<T>(), s.accumulate);
  }
};

class LinearByDotsOp final : public LinearOp {
 public:
  std::string_view name() const override { return "linear_by_dots"; }
  void forward(Forward& c) override {
    dispatch_float(c.in(0).dtype(), [&]<class T>() {
      const View<const T> x = c.in(0).view<T>(), w = c.in(1).view<T>();
      const View<T> y = c.out(0).view<T>();
      for_row_blocks(y.rows, [&](int64_t from, int64_t n) {
        for (int64_t r = from; r < from + n; ++r)
          kernel::group_dot<T>({x.row(r), w.rows, x.cols, 0}, w, {y.row(r), w.rows, 1, 1}, false);
      });
    });
  }
};

}  // namespace

Tensor linear_by_dots(const Tensor& x, const Tensor& weight) {
  return run(std::make_unique<LinearByDotsOp>(), {x, weight, Tensor(), Tensor()});
}

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& transposed) {
  return run(std::make_unique<LinearOp>(), {x, weight, bias, transposed});
}

}  // namespace effllm
