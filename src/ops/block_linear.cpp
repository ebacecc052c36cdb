#include "ops/block_linear.h"

#include "kernels/gemm.h"
#include "kernels/pointwise.h"
#include "ops/rows.h"

namespace effllm {
namespace {

class BlockLinearOp final : public FloatOp<BlockLinearOp> {
 public:
  explicit BlockLinearOp(const BlockForm& f) : f_(f) {}
  std::string_view name() const override { return "block_linear"; }
  Outputs infer(std::span<const Tensor> in) const override {
    const Shape& w = in[1].shape();
    require(f_.blocks > 0 && w.rank() == 2 && w[0] % f_.blocks == 0 && f_.first >= 0 && f_.carry >= 0 &&
                f_.first + rows(in) <= w[0] / f_.blocks && in[0].dtype() == in[1].dtype(),
            "block_linear: {} blocks with rows {} to {} of their share of a weight{}", f_.blocks, f_.first,
            f_.first + rows(in), w.str());
    require(in[0].cols() == f_.blocks * (width_in(in) + f_.carry), "block_linear: x{} for {} blocks of {} columns",
            in[0].shape().str(), f_.blocks, width_in(in) + f_.carry);
    require(!in[2].defined() || (f_.carry == 0 && in[2].numel() == f_.blocks * width_out(in)),
            "block_linear: bias{} for {} outputs", in[2].shape().str(), f_.blocks * width_out(in));
    return {{in[0].shape().with(-1, f_.blocks * (width_out(in) + f_.carry)), in[0].dtype()}};
  }
  Cost cost(std::span<const Tensor> in) const override {
    const auto x_rows = static_cast<double>(in[0].rows()), size = bytes_of_number(in[0]);
    const auto weights = static_cast<double>(f_.blocks * rows(in) * in[1].cols());
    const auto columns = static_cast<double>(f_.blocks * (width_in(in) + width_out(in) + 2 * f_.carry));
    const double product = 2 * x_rows * weights;
    const double bias = in[2].defined() ? x_rows * numbers(in[2]) : 0;
    return {product + bias, 2 * product + bias, size * (x_rows * columns + weights),
            size * (2 * x_rows * columns + 3 * weights), product};
  }
  Keeps keeps() const override { return {.inputs = 3}; }

  template <class T>
  void forward_in(Forward& c) {
    const View<const T> x = c.in(0).view<T>(), w = c.in(1).view<T>();
    const auto y = c.out(0).view<T>();
    each(w, x.cols, y.cols, [&](int64_t row, int64_t n, int64_t x_from, int64_t in, int64_t y_from, int64_t out) {
      parallel_gemm<T>(x.columns(x_from, in), false, w.part(row, n), !f_.transposed, y.columns(y_from, out), false);
      carry(x, x_from + in, y, y_from + out, false);
    });
    if (!c.in(2).defined()) return;
    on_rows<T>([&](auto block) { kernel::add_row<T>(block, c.in(2).data<T>(), block); }, c.out(0));
  }

  template <class T>
  void backward_in(Backward& c) {
    const Sink dx = c.sink(0);
    const Tensor dw = c.sum(1);  // rows that no block uses have no gradient
    const Sink db = c.sink(2);
    const View<const T> x = c.in(0).view<T>(), w = c.in(1).view<T>(), g = c.grad(0).view<T>();
    each(w, x.cols, g.cols, [&](int64_t row, int64_t n, int64_t x_from, int64_t in, int64_t g_from, int64_t out) {
      const View<const T> x_own = x.columns(x_from, in), g_own = g.columns(g_from, out);
      if (dx) {
        const auto d = dx.view<T>();
        parallel_gemm<T>(g_own, false, w.part(row, n), f_.transposed, d.columns(x_from, in), dx.accumulate);
        carry(g, g_from + out, d, x_from + in, dx.accumulate);
      }
      if (dw.defined())
        parallel_gemm<T>(f_.transposed ? x_own : g_own, true, f_.transposed ? g_own : x_own, false,
                         dw.view<T>().part(row, n), true);
    });
    if (db) kernel::column_sum<T>(g, db.into.data<T>(), db.accumulate);
  }

 private:
  int64_t rows(std::span<const Tensor> in) const { return f_.rows ? f_.rows : in[1].dim(0) / f_.blocks; }
  int64_t width_in(std::span<const Tensor> in) const { return f_.transposed ? rows(in) : in[1].cols(); }
  int64_t width_out(std::span<const Tensor> in) const { return f_.transposed ? in[1].cols() : rows(in); }

  // visit(first row of the block's weight, its rows, first column and width in x, the same in y)
  template <class T, class Visit>
  void each(View<const T> w, int64_t x_cols, int64_t y_cols, Visit visit) const {
    const int64_t share = w.rows / f_.blocks, x_pitch = x_cols / f_.blocks, y_pitch = y_cols / f_.blocks;
    const int64_t n = f_.rows ? f_.rows : share;
    for (int64_t b = 0; b < f_.blocks; ++b)
      visit(b * share + f_.first, n, b * x_pitch, x_pitch - f_.carry, b * y_pitch, y_pitch - f_.carry);
  }

  template <class T>
  void carry(View<const T> from, int64_t column, View<T> to, int64_t at, bool add) const {
    if (f_.carry) kernel::scale<T>(T(1), from.columns(column, f_.carry), to.columns(at, f_.carry), add);
  }

  BlockForm f_;
};

}  // namespace

Tensor block_linear(const Tensor& x, const Tensor& weight, const Tensor& bias, const BlockForm& form) {
  return run(std::make_unique<BlockLinearOp>(form), {x, weight, bias});
}

}  // namespace effllm
