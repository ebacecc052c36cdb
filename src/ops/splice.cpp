#include "ops/splice.h"

#include <algorithm>

#include "ops/rows.h"

namespace effllm {
namespace {

class SpliceRowsOp final : public Op {
 public:
  std::string_view name() const override { return "splice_rows"; }
  Outputs infer(std::span<const Tensor> in) const override {
    const Shape &a = in[0].shape(), &b = in[1].shape(), &i = in[2].shape();
    require(a.rank() == 3 && b.rank() == 3 && a[0] == b[0] && a[2] == b[2], "splice_rows: {} and {}", a.str(), b.str());
    require(i.rank() == 2 && i[0] == a[0] && in[2].dtype() == DType::i64, "splice_rows: index{} for {}", i.str(),
            a.str());
    return {{{a[0], i[1], a[2]}, in[0].dtype()}};
  }
  Cost cost(std::span<const Tensor> in) const override {
    const double bytes = static_cast<double>(in[2].numel() * in[0].cols()) * bytes_of_number(in[0]);
    return {0, 0, 2 * bytes, 2 * bytes};
  }
  Keeps keeps() const override { return {.inputs = 4}; }
  void forward(Forward& c) override {
    dispatch_float(c.in(0).dtype(), [&]<class T>() {
      const auto y = c.out(0).view<T>();
      each(c.in(2), c.in(0).dim(1), c.in(1).dim(1), [&](int64_t out, int which, int64_t row) {
        if (which < 0)
          std::fill_n(y.row(out), y.cols, T(0));
        else
          std::copy_n(c.in(which).view<T>().row(row), y.cols, y.row(out));
      });
    });
  }
  void backward(Backward& c) override {
    for (int i : {0, 1}) {
      const Tensor to = c.sum(i);
      if (!to.defined()) continue;
      dispatch_float(c.dtype(), [&]<class T>() {
        const auto g = c.grad(0).view<T>();
        const auto d = to.view<T>();
        each(c.in(2), c.in_shape(0)[1], c.in_shape(1)[1], [&](int64_t out, int which, int64_t row) {
          if (which == i)
            for (int64_t k = 0; k < g.cols; ++k) d.row(row)[k] += g.row(out)[k];
        });
      });
    }
  }

 private:
  // f(row of the output, 0 or 1 for a or b or -1 for neither, row of that input)
  template <class F>
  static void each(const Tensor& index, int64_t first, int64_t second, F&& f) {
    const auto v = index.view<int64_t>();
    for (int64_t b = 0; b < v.rows; ++b)
      for (int64_t j = 0; j < v.cols; ++j) {
        const int64_t at = v.row(b)[j];
        require(at < first + second, "splice_rows: row {} of {} + {}", at, first, second);
        const int which = at < 0 ? -1 : at < first ? 0 : 1;
        f(b * v.cols + j, which, which == 1 ? b * second + at - first : b * first + at);
      }
  }
};

}  // namespace

Tensor splice_rows(const Tensor& a, const Tensor& b, const Tensor& index) {
  return run(std::make_unique<SpliceRowsOp>(), {a, b, index});
}

}  // namespace effllm
