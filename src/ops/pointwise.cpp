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

class PointwiseOp final : public Op {
 public:
  explicit PointwiseOp(Pointwise f) : f_(f) {}
  std::string_view name() const override { return to_string(f_); }
  Outputs infer(std::span<const Tensor> in) const override { return {{in[0].shape(), in[0].dtype()}}; }
  Cost cost(std::span<const Tensor> in) const override {
    const auto n = static_cast<double>(in[0].numel()), bytes = static_cast<double>(in[0].bytes());
    return {flops_of(f_) * n, (flops_of(f_) + 2) * n, 2 * bytes, 3 * bytes};
  }
  Keeps keeps() const override { return {.inputs = 1}; }
  void forward(Forward& c) override {
    dispatch_float(c.in(0).dtype(), [&]<class T>() {
      const View<const T> x = c.in(0).view<T>();
      const auto y = c.out(0).view<T>();
      for_row_blocks(x.rows, [&](int64_t r, int64_t n) { kernel::pointwise<T>(f_, x.part(r, n), y.part(r, n)); });
    });
  }
  void backward(Backward& c) override {
    if (!c.wants(0)) return;
    const Sink s = c.sink(0);
    dispatch_float(c.dtype(), [&]<class T>() {
      const View<const T> x = c.in(0).view<T>(), g = c.grad(0).view<T>();
      const auto d = s.into.view<T>();
      for_row_blocks(x.rows, [&](int64_t r, int64_t n) {
        kernel::pointwise_backward<T>(f_, x.part(r, n), g.part(r, n), d.part(r, n), s.accumulate);
      });
    });
  }

 private:
  Pointwise f_;
};

class SwigluOp final : public Op {
 public:
  std::string_view name() const override { return "swiglu"; }
  Outputs infer(std::span<const Tensor> in) const override {
    require(in[0].cols() % 2 == 0, "swiglu: {} has no two equal halves", in[0].shape().str());
    return {{in[0].shape().with(-1, in[0].cols() / 2), in[0].dtype()}};
  }
  Cost cost(std::span<const Tensor> in) const override {
    const auto n = static_cast<double>(in[0].numel()) / 2, bytes = static_cast<double>(in[0].bytes());
    return {10 * n, 16 * n, 1.5 * bytes, 2.5 * bytes};
  }
  Keeps keeps() const override { return {.inputs = 1}; }
  void forward(Forward& c) override {
    dispatch_float(c.in(0).dtype(), [&]<class T>() {
      const View<const T> x = c.in(0).view<T>();
      const auto y = c.out(0).view<T>();
      for_row_blocks(x.rows, [&](int64_t r, int64_t n) { kernel::swiglu<T>(x.part(r, n), y.part(r, n)); });
    });
  }
  void backward(Backward& c) override {
    if (!c.wants(0)) return;
    const Sink s = c.sink(0);
    dispatch_float(c.dtype(), [&]<class T>() {
      const View<const T> x = c.in(0).view<T>(), g = c.grad(0).view<T>();
      const auto d = s.into.view<T>();
      for_row_blocks(x.rows, [&](int64_t r, int64_t n) {
        kernel::swiglu_backward<T>(x.part(r, n), g.part(r, n), d.part(r, n), s.accumulate);
      });
    });
  }
};

}  // namespace

std::string_view to_string(Pointwise f) { return kNames[static_cast<size_t>(f)]; }
Tensor pointwise(Pointwise f, const Tensor& x) { return run(std::make_unique<PointwiseOp>(f), {x}); }
Tensor swiglu(const Tensor& gate_up) { return run(std::make_unique<SwigluOp>(), {gate_up}); }

}  // namespace effllm
