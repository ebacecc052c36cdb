#include "ops/groups.h"

#include "kernels/groups.h"
#include "ops/rows.h"

namespace effllm {
namespace {

double count(const Tensor& x) { return static_cast<double>(x.numel()); }
double bytes(const Tensor& x) { return static_cast<double>(x.bytes()); }

template <class T>
void scale(const Tensor& x, const Tensor& g, const Tensor& y, bool add) {
  on_rows<T>([&](auto p, auto q, auto o) { kernel::scale_groups<T>(p, q, o, add); }, x, g, y);
}
template <class T>
void dot(const Tensor& a, const Tensor& b, const Tensor& y, bool add) {
  on_rows<T>([&](auto p, auto q, auto o) { kernel::group_dot<T>(p, q, o, add); }, a, b, y);
}

class MultiplyGroupsOp final : public FloatOp<MultiplyGroupsOp> {
 public:
  std::string_view name() const override { return "multiply_groups"; }
  Outputs infer(std::span<const Tensor> in) const override {
    require(in[1].cols() > 0 && in[0].cols() % in[1].cols() == 0 && in[0].dtype() == in[1].dtype() &&
                in[0].shape().with(-1, in[1].cols()) == in[1].shape(),
            "multiply_groups: x{} and factors {} are not [.., G*n] and [.., G]", in[0].shape().str(),
            in[1].shape().str());
    return {{in[0].shape(), in[0].dtype()}};
  }
  Cost cost(std::span<const Tensor> in) const override {
    const double x = bytes(in[0]), g = bytes(in[1]);
    return {count(in[0]), 3 * count(in[0]), 2 * x + g, 3 * x + 2 * g};
  }
  Keeps keeps() const override { return {.inputs = 3}; }
  template <class T>
  void forward_in(Forward& c) {
    scale<T>(c.in(0), c.in(1), c.out(0), false);
  }
  template <class T>
  void backward_in(Backward& c) {
    if (const Sink s = c.sink(0)) scale<T>(c.grad(0), c.in(1), s.into, s.accumulate);
    if (const Sink s = c.sink(1)) dot<T>(c.grad(0), c.in(0), s.into, s.accumulate);
  }
};

}  // namespace

Tensor multiply_groups(const Tensor& x, const Tensor& g) { return run(std::make_unique<MultiplyGroupsOp>(), {x, g}); }

}  // namespace effllm
