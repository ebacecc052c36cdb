#include "ops/pointwise.h"

#include "kernels/pointwise.h"
#include "ops/rows.h"

namespace effllm {
namespace {

constexpr std::string_view kNames[] = {"sigmoid",  "tanh",        "relu", "relu2", "silu",       "gelu",    "gelu_tanh",
                                       "softplus", "log_sigmoid", "exp",  "elu1",  "reciprocal", "laplace", "log"};

// An exponential with its surroundings counts as 8 operations, comparisons and divisions as 1.
double flops_of(Pointwise f) {
  return f == Pointwise::relu || f == Pointwise::relu2 || f == Pointwise::reciprocal ? 1 : 8;
}

class PointwiseOp final : public FloatOp<PointwiseOp> {
 public:
  explicit PointwiseOp(Pointwise f) : f_(f) {}
  std::string_view name() const override { return to_string(f_); }
  Outputs infer(std::span<const Tensor> in) const override { return {{in[0].shape(), in[0].dtype()}}; }
  Cost cost(std::span<const Tensor> in) const override {
    return per_number(in[0], {flops_of(f_), flops_of(f_) + 2, 2, 3});
  }
  Keeps keeps() const override { return {.inputs = 1}; }
  template <class T>
  void forward_in(Forward& c) {
    on_rows<T>([&](auto x, auto y) { kernel::pointwise<T>(f_, x, y); }, c.in(0), c.out(0));
  }
  template <class T>
  void backward_in(Backward& c) {
    const Sink s = c.sink(0);
    if (!s) return;
    on_rows<T>([&](auto x, auto dy, auto dx) { kernel::pointwise_backward<T>(f_, x, dy, dx, s.accumulate); }, c.in(0),
               c.grad(0), s.into);
  }

 private:
  Pointwise f_;
};

class SwigluOp final : public FloatOp<SwigluOp> {
 public:
  std::string_view name() const override { return "swiglu"; }
  Outputs infer(std::span<const Tensor> in) const override {
    require(in[0].cols() % 2 == 0, "swiglu: {} has no two equal halves", in[0].shape().str());
    return {{in[0].shape().with(-1, in[0].cols() / 2), in[0].dtype()}};
  }
  Cost cost(std::span<const Tensor> in) const override {
    const auto n = numbers(in[0]) / 2, bytes = static_cast<double>(in[0].bytes());
    return {10 * n, 16 * n, 1.5 * bytes, 2.5 * bytes};
  }
  Keeps keeps() const override { return {.inputs = 1}; }
  template <class T>
  void forward_in(Forward& c) {
    on_rows<T>(kernel::swiglu<T>, c.in(0), c.out(0));
  }
  template <class T>
  void backward_in(Backward& c) {
    const Sink s = c.sink(0);
    if (!s) return;
    on_rows<T>([&](auto x, auto dy, auto dx) { kernel::swiglu_backward<T>(x, dy, dx, s.accumulate); }, c.in(0),
               c.grad(0), s.into);
  }
};

}  // namespace

std::string_view to_string(Pointwise f) { return kNames[static_cast<size_t>(f)]; }
Tensor pointwise(Pointwise f, const Tensor& x) { return run(std::make_unique<PointwiseOp>(f), {x}); }
Tensor swiglu(const Tensor& gate_up) { return run(std::make_unique<SwigluOp>(), {gate_up}); }

}  // namespace effllm
