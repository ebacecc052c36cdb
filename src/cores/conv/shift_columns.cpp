#include "cores/conv/shift_columns.h"

#include <algorithm>

#include "autodiff/float_op.h"
#include "cores/common/segments.h"

namespace effllm {
namespace {

enum Input { kX, kBefore, kSegments };

class ShiftColumnsOp final : public FloatOp<ShiftColumnsOp> {
 public:
  explicit ShiftColumnsOp(int64_t n) : n_(n) {}
  std::string_view name() const override { return "shift_columns"; }
  Outputs infer(std::span<const Tensor> in) const override {
    const Shape& s = in[kX].shape();
    const DType type = in[kX].dtype();
    require(s.rank() == 3 && s[1] >= 1 && is_float(type) && n_ > 0 && n_ <= s[2],
            "shift_columns: {} of the columns of x{}", n_, s.str());
    const Shape last{s[0], 1, n_};
    require(!in[kBefore].defined() || (in[kBefore].shape() == last && in[kBefore].dtype() == type),
            "shift_columns: before{} for x{}, it should be {}", in[kBefore].shape().str(), s.str(), last.str());
    require_segments(name(), in[kSegments], s[0], s[1]);
    return {{s, type}, {last, type}};
  }
  Cost cost(std::span<const Tensor> in) const override {
    const auto bytes = static_cast<double>(in[kX].bytes());
    return {0, 0, 2 * bytes, 2 * bytes};
  }
  Keeps keeps() const override { return {.inputs = 1 << kSegments}; }

  template <class T>
  void forward_in(Forward& c) {
    const DocumentStarts starts(c.in(kSegments));
    const auto x = c.in(kX).view<T>(), y = c.out(0).view<T>();
    each_row(c.in(kX).shape(), starts, [&](int64_t b, int64_t row, int64_t from) {
      const T* source = from >= 0 ? x.row(from) : nullptr;
      if (from == kBeforeRow && c.in(kBefore).defined()) source = c.in(kBefore).view<T>().row(b);
      source ? std::copy_n(source, n_, y.row(row)) : std::fill_n(y.row(row), n_, T(0));
      std::copy_n(x.row(row) + n_, x.cols - n_, y.row(row) + n_);
    });
    for (int64_t b = 0; b < c.in(kX).dim(0); ++b)
      std::copy_n(x.row((b + 1) * c.in(kX).dim(1) - 1), n_, c.out(1).view<T>().row(b));
  }

  template <class T>
  void backward_in(Backward& c) {
    const DocumentStarts starts(c.in(kSegments));
    const Shape& s = c.in_shape(kX);
    const Tensor dx = c.sum(kX), d_before = c.sum(kBefore);
    const auto add = [](const T* from, int64_t n, T* to) {
      for (int64_t k = 0; k < n; ++k) to[k] += from[k];
    };
    const bool wants_x = dx.defined(), wants_before = d_before.defined();
    if (c.grad(0).defined()) {
      const auto g = c.grad(0).view<T>();
      each_row(s, starts, [&](int64_t b, int64_t row, int64_t from) {
        if (wants_x) add(g.row(row) + n_, s[2] - n_, dx.view<T>().row(row) + n_);
        if (wants_x && from >= 0) add(g.row(row), n_, dx.view<T>().row(from));
        if (wants_before && from == kBeforeRow) add(g.row(row), n_, d_before.view<T>().row(b));
      });
    }
    for (int64_t b = 0; c.grad(1).defined() && wants_x && b < s[0]; ++b)
      add(c.grad(1).view<T>().row(b), n_, dx.view<T>().row((b + 1) * s[1] - 1));
  }

 private:
  static constexpr int64_t kBeforeRow = -1, kNothing = -2;
  // f(b, row, row of the token before, or one of the above)
  template <class F>
  static void each_row(const Shape& s, const DocumentStarts& starts, F&& f) {
    for (int64_t b = 0; b < s[0]; ++b) {
      const uint8_t* begins = starts.row(b);
      for (int64_t t = 0; t < s[1]; ++t)
        f(b, b * s[1] + t, begins && begins[t] ? kNothing : t > 0 ? b * s[1] + t - 1 : kBeforeRow);
    }
  }

  int64_t n_;
};

}  // namespace

ShiftColumnsResult shift_columns(const Tensor& x, int64_t n, const Tensor& before, const Tensor& segments) {
  return run_to<ShiftColumnsResult>(std::make_unique<ShiftColumnsOp>(n), {x, before, segments});
}

}  // namespace effllm
