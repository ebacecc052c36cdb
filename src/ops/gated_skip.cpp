#include "ops/gated_skip.h"

#include "kernels/gated_skip.h"
#include "ops/rows.h"

namespace effllm {
namespace {

enum Input { kO, kX, kZ, kD };

class GatedSkipOp final : public FloatOp<GatedSkipOp> {
 public:
  std::string_view name() const override { return "gated_skip"; }
  Outputs infer(std::span<const Tensor> in) const override {
    const Shape& s = in[kO].shape();
    const int64_t groups = in[kD].numel();
    require(in[kX].shape() == s && in[kZ].shape() == s && in[kD].shape().rank() == 1 && groups > 0 &&
                s.cols() % groups == 0,
            "gated_skip: o{}, x{}, z{} and d{} are not [.., G*n] three times and [G]", s.str(), in[kX].shape().str(),
            in[kZ].shape().str(), in[kD].shape().str());
    require_one_type(name(), in);
    return {{s, in[kO].dtype()}};
  }
  Cost cost(std::span<const Tensor> in) const override { return per_number(in[kO], {11, 20, 4, 7}); }
  Keeps keeps() const override { return {.inputs = 15}; }
  template <class T>
  void forward_in(Forward& c) {
    const Tensor& d = c.in(kD);
    on_rows<T>([&](auto o, auto x, auto z, auto y) { kernel::gated_skip<T>(o, x, z, d.data<T>(), d.numel(), y); },
               c.in(kO), c.in(kX), c.in(kZ), c.out(0));
  }
  template <class T>
  void backward_in(Backward& c) {
    const Sink s_o = c.sink(kO), s_x = c.sink(kX), s_z = c.sink(kZ), s_d = c.sink(kD);
    GatedSkipBackward<T> all{.o = c.in(kO).view<T>(),
                             .x = c.in(kX).view<T>(),
                             .z = c.in(kZ).view<T>(),
                             .dy = c.grad(0).view<T>(),
                             .d = c.in(kD).data<T>(),
                             .groups = c.in(kD).numel(),
                             .d_o = s_o.view<T>(),
                             .d_x = s_x.view<T>(),
                             .d_z = s_z.view<T>(),
                             .add_o = s_o.accumulate,
                             .add_x = s_x.accumulate,
                             .add_z = s_z.accumulate,
                             .d_d = data_or_null<T>(s_d.into),
                             .add_d = s_d.accumulate};
    if (in_parallel()) return kernel::gated_skip_backward<T>(all);
    const auto part = [](auto v, int64_t r, int64_t n) { return v ? v.part(r, n) : v; };
    if (all.d_o || all.d_x || all.d_z)
      for_row_blocks(all.o.rows, [&](int64_t r, int64_t n) {
        GatedSkipBackward<T> rows = all;
        rows.o = part(all.o, r, n);
        rows.x = part(all.x, r, n);
        rows.z = part(all.z, r, n);
        rows.dy = part(all.dy, r, n);
        rows.d_o = part(all.d_o, r, n);
        rows.d_x = part(all.d_x, r, n);
        rows.d_z = part(all.d_z, r, n);
        rows.d_d = nullptr;
        kernel::gated_skip_backward<T>(rows);
      });
    if (!all.d_d) return;
    all.d_o = all.d_x = all.d_z = {};
    kernel::gated_skip_backward<T>(all);
  }
};

}  // namespace

Tensor gated_skip(const Tensor& o, const Tensor& x, const Tensor& z, const Tensor& d) {
  return run(std::make_unique<GatedSkipOp>(), {o, x, z, d});
}

}  // namespace effllm
