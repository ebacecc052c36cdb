#include "ops/softmax.h"

#include "kernels/softmax.h"
#include "ops/rows.h"

namespace effllm {
namespace {

class SoftmaxOp final : public Op {
 public:
  std::string_view name() const override { return "softmax"; }
  Outputs infer(std::span<const Tensor> in) const override {
    require(is_float(in[0].dtype()) && in[0].cols() > 0, "softmax: x{} of {} has no numbers in its rows",
            in[0].shape().str(), to_string(in[0].dtype()));
    return {{in[0].shape(), in[0].dtype()}};
  }
  Cost cost(std::span<const Tensor> in) const override {  // an exponential counts 8
    const auto n = static_cast<double>(in[0].numel()), bytes = static_cast<double>(in[0].bytes());
    return {12 * n, 4 * n, 2 * bytes, 3 * bytes};
  }
  Keeps keeps() const override { return {.outputs = 1}; }
  void forward(Forward& c) override {
    dispatch_float(c.in(0).dtype(), [&]<class T>() {
      const View<const T> x = c.in(0).view<T>();
      const auto y = c.out(0).view<T>();
      for_row_blocks(x.rows, [&](int64_t r, int64_t n) { kernel::softmax<T>(x.part(r, n), y.part(r, n)); });
    });
  }
  void backward(Backward& c) override {
    if (!c.wants(0)) return;
    const Sink s = c.sink(0);
    dispatch_float(c.dtype(), [&]<class T>() {
      const View<const T> y = c.out(0).view<T>(), g = c.grad(0).view<T>();
      const auto d = s.into.view<T>();
      for_row_blocks(y.rows, [&](int64_t r, int64_t n) {
        kernel::softmax_backward<T>(y.part(r, n), g.part(r, n), d.part(r, n), s.accumulate);
      });
    });
  }
};

}  // namespace

Tensor softmax(const Tensor& x) { return run(std::make_unique<SoftmaxOp>(), {x}); }

}  // namespace effllm
