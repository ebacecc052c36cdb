#include "ops/scaled_sum.h"

#include "kernels/groups.h"
#include "kernels/pointwise.h"
#include "ops/rows.h"

namespace effllm {
namespace {

enum Input { kA, kScaleA, kB, kScaleB };

class ScaledSumOp final : public Op {
 public:
  std::string_view name() const override { return "scaled_sum"; }
  Outputs infer(std::span<const Tensor> in) const override {
    require(is_float(in[kA].dtype()) && in[kB].shape() == in[kA].shape() && in[kB].dtype() == in[kA].dtype(),
            "scaled_sum: {} of {} and {} of {}", in[kA].shape().str(), to_string(in[kA].dtype()), in[kB].shape().str(),
            to_string(in[kB].dtype()));
    for (const int i : {kScaleA, kScaleB})
      require(in[i].shape() == Shape{1} && in[i].dtype() == in[kA].dtype(),
              "scaled_sum: a scale is [1] of {}, not {} of {}", to_string(in[kA].dtype()), in[i].shape().str(),
              to_string(in[i].dtype()));
    return {{in[kA].shape(), in[kA].dtype()}};
  }
  Cost cost(std::span<const Tensor> in) const override {
    const auto n = static_cast<double>(in[kA].numel()), bytes = static_cast<double>(in[kA].bytes());
    return {3 * n, 6 * n, 3 * bytes, 5 * bytes};
  }
  Keeps keeps() const override { return {.inputs = 15}; }
  Scratch scratch(std::span<const TensorSpec> in) const override {
    return scratch_of(0, in[kA].shape.cols(), in[kA].dtype);
  }
  void forward(Forward& c) override {
    dispatch_float(c.in(kA).dtype(), [&]<class T>() {
      const View<const T> a = c.in(kA).view<T>(), b = c.in(kB).view<T>();
      const View<T> y = c.out(0).view<T>();
      const T of_a = *c.in(kScaleA).data<T>(), of_b = *c.in(kScaleB).data<T>();
      for_row_blocks(y.rows, [&](int64_t r, int64_t n) {
        kernel::scale<T>(of_a, a.part(r, n), y.part(r, n), false);
        kernel::scale<T>(of_b, b.part(r, n), y.part(r, n), true);
      });
    });
  }
  void backward(Backward& c) override {
    dispatch_float(c.dtype(), [&]<class T>() {
      gradients<T>(c, kA, kScaleA);
      gradients<T>(c, kB, kScaleB);
    });
  }

 private:
  // Of x and of its scale: scale * g, and the sum of g x.
  template <class T>
  static void gradients(Backward& c, int x, int scale) {
    const View<const T> g = c.grad(0).view<T>();
    if (const Sink s = c.sink(x)) {
      const View<T> d = s.view<T>();
      for_row_blocks(g.rows, [&](int64_t r, int64_t n) {
        kernel::scale<T>(*c.in(scale).data<T>(), g.part(r, n), d.part(r, n), s.accumulate);
      });
    }
    const Sink s = c.sink(scale);
    if (!s) return;
    const Tensor columns = Tensor::dense({g.cols}, c.dtype());
    kernel::column_dot<T>(g, c.in(x).view<T>(), columns.data<T>(), false);
    T sum = 0;
    for (int64_t i = 0; i < g.cols; ++i) sum += columns.data<T>()[i];
    T& d = *s.into.data<T>();
    d = s.accumulate ? d + sum : sum;
  }
};

}  // namespace

Tensor scaled_sum(const Tensor& a, const Tensor& scale_a, const Tensor& b, const Tensor& scale_b) {
  return run(std::make_unique<ScaledSumOp>(), {a, scale_a, b, scale_b});
}

}  // namespace effllm
