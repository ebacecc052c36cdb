#include "ops/offset_scale.h"

#include "kernels/groups.h"
#include "kernels/pointwise.h"
#include "ops/rows.h"

namespace effllm {
namespace {

class OffsetScaleOp final : public FloatOp<OffsetScaleOp> {
 public:
  std::string_view name() const override { return "offset_scale"; }
  Outputs infer(std::span<const Tensor> in) const override {
    const Shape &z = in[0].shape(), &w = in[1].shape();
    require(z.rank() >= 2 && w.rank() == 2 && w[0] >= 1 && w[1] == z[-1] && in[2].shape() == w &&
                is_float(in[0].dtype()) && in[1].dtype() == in[0].dtype() && in[2].dtype() == in[0].dtype(),
            "offset_scale: z{}, weight{}, bias{} are not [.., C] and [R, C] twice", z.str(), w.str(),
            in[2].shape().str());
    return {{z.with(-1, w[0] * w[1]), in[0].dtype()}};
  }
  Cost cost(std::span<const Tensor> in) const override {
    const double n = numbers(in[0]), parts = static_cast<double>(in[1].dim(0)), size = bytes_of_number(in[0]);
    return {2 * parts * n, 5 * parts * n, (1 + parts) * n * size, (2 + parts) * n * size};
  }
  Keeps keeps() const override { return {.inputs = 3}; }

  template <class T>
  void forward_in(Forward& c) {
    const View<const T> z = c.in(0).view<T>(), w = c.in(1).view<T>(), b = c.in(2).view<T>();
    const View<T> y = c.out(0).view<T>();
    for_row_blocks(z.rows, [&](int64_t r, int64_t n) {
      for (int64_t i = 0; i < w.rows; ++i)
        kernel::scale_columns<T>(z.part(r, n), w.row(i), b.row(i), y.part(r, n).columns(i * z.cols, z.cols), false);
    });
  }

  template <class T>
  void backward_in(Backward& c) {
    const Sink dz = c.sink(0), dw = c.sink(1), db = c.sink(2);
    const View<const T> z = c.in(0).view<T>(), w = c.in(1).view<T>(), g = c.grad(0).view<T>();
    if (dz)
      for_row_blocks(z.rows, [&](int64_t r, int64_t n) {
        for (int64_t i = 0; i < w.rows; ++i)
          kernel::scale_columns<T>(g.part(r, n).columns(i * z.cols, z.cols), w.row(i), nullptr, dz.view<T>().part(r, n),
                                   dz.accumulate || i > 0);
      });
    for (int64_t i = 0; i < w.rows; ++i) {
      const View<const T> part = g.columns(i * z.cols, z.cols);
      if (dw) kernel::column_dot<T>(part, z, dw.view<T>().row(i), dw.accumulate);
      if (db) kernel::column_sum<T>(part, db.view<T>().row(i), db.accumulate);
    }
  }
};

}  // namespace

Tensor offset_scale(const Tensor& z, const Tensor& weight, const Tensor& bias) {
  return run(std::make_unique<OffsetScaleOp>(), {z, weight, bias});
}

}  // namespace effllm
