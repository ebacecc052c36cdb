#include "ops/softmax.h"

#include "kernels/pointwise.h"
#include "kernels/softmax.h"
#include "ops/rows.h"

namespace effllm {
namespace {

class SoftmaxOp final : public FloatOp<SoftmaxOp> {
 public:
  explicit SoftmaxOp(int64_t groups) : groups_(groups) {}
  std::string_view name() const override { return "softmax"; }
  Outputs infer(std::span<const Tensor> in) const override {
    require(is_float(in[0].dtype()) && in[0].cols() > 0 && groups_ >= 1 && in[0].cols() % groups_ == 0,
            "softmax: of rows of numbers in {} groups, not {} of {}", groups_, in[0].shape().str(),
            to_string(in[0].dtype()));
    return {{in[0].shape(), in[0].dtype()}};
  }
  Cost cost(std::span<const Tensor> in) const override { return per_number(in[0], {12, 4, 2, 3}); }
  Keeps keeps() const override { return {.outputs = 1}; }
  template <class T>
  void forward_in(Forward& c) {
    const View<const T> x = c.in(0).view<T>();
    const View<T> y = c.out(0).view<T>();
    each_group(x, [&](int64_t r, int64_t n, int64_t column, int64_t w) {
      kernel::softmax<T>(x.part(r, n).columns(column, w), y.part(r, n).columns(column, w), nullptr);
    });
  }
  template <class T>
  void backward_in(Backward& c) {
    if (!c.wants(0)) return;
    const Sink s = c.sink(0);
    const View<const T> y = c.out(0).view<T>(), g = c.grad(0).view<T>();
    const View<T> d = s.into.view<T>();
    each_group(y, [&](int64_t r, int64_t n, int64_t column, int64_t w) {
      kernel::softmax_backward<T>(y.part(r, n).columns(column, w), g.part(r, n).columns(column, w),
                                  d.part(r, n).columns(column, w), s.accumulate);
    });
  }

 private:
  // f(row, rows, column, columns)
  template <class T, class F>
  void each_group(const View<const T>& x, F&& f) const {
    const int64_t width = x.cols / groups_;
    for_row_blocks(x.rows, [&](int64_t r, int64_t n) {
      for (int64_t g = 0; g < groups_; ++g) f(r, n, g * width, width);
    });
  }
  int64_t groups_;
};

class DivideBySumOp final : public Op {
 public:
  explicit DivideBySumOp(double eps) : eps_(eps) {}
  std::string_view name() const override { return "divide_by_sum"; }
  Outputs infer(std::span<const Tensor> in) const override {
    require(is_float(in[0].dtype()), "divide_by_sum: of numbers, not {}", to_string(in[0].dtype()));
    return {{in[0].shape(), in[0].dtype()}};
  }
  Cost cost(std::span<const Tensor> in) const override { return per_number(in[0], {2, 4, 2, 3}); }
  Keeps keeps() const override { return {.inputs = 1}; }
  void forward(Forward& c) override {
    each_row(c.in(0), [&]<class T>(int64_t r, T sum) {
      const T* x = c.in(0).view<T>().row(r);
      T* y = c.out(0).view<T>().row(r);
      for (int64_t i = 0; i < c.in(0).cols(); ++i) y[i] = x[i] / sum;
    });
  }
  void backward(Backward& c) override {  // dx_i = (g_i - sum_j g_j y_j) / sum
    if (!c.wants(0)) return;
    const Sink s = c.sink(0);
    each_row(c.in(0), [&]<class T>(int64_t r, T sum) {
      const T *x = c.in(0).view<T>().row(r), *g = c.grad(0).view<T>().row(r);
      T* d = s.into.view<T>().row(r);
      T mean = 0;
      for (int64_t i = 0; i < s.into.cols(); ++i) mean += g[i] * (x[i] / sum);
      for (int64_t i = 0; i < s.into.cols(); ++i) d[i] = (s.accumulate ? d[i] : 0) + (g[i] - mean) / sum;
    });
  }

 private:
  // f(row, its sum)
  template <class F>
  void each_row(const Tensor& x, F&& f) const {
    dispatch_float(x.dtype(), [&]<class T>() {
      const View<const T> v = x.view<T>();
      for_row_blocks(v.rows, [&](int64_t from, int64_t n) {
        for (int64_t r = from; r < from + n; ++r) {
          T sum = static_cast<T>(eps_);
          for (int64_t i = 0; i < v.cols; ++i) sum += v.row(r)[i];
          f.template operator()<T>(r, sum);
        }
      });
    });
  }
  double eps_;
};

class SquaredLogSumsOp final : public Op {
 public:
  std::string_view name() const override { return "squared_log_sums"; }
  Outputs infer(std::span<const Tensor> in) const override {
    require(is_float(in[0].dtype()) && in[0].cols() > 0, "squared_log_sums: of rows of numbers, not {} of {}",
            in[0].shape().str(), to_string(in[0].dtype()));
    return {{{1}, DType::f64}};
  }
  Cost cost(std::span<const Tensor> in) const override { return per_number(in[0], {12, 14, 2, 3}); }
  Keeps keeps() const override { return {.inputs = 1}; }
  Scratch scratch(std::span<const TensorSpec> in) const override {
    const int64_t rows = in[0].shape.rows(), all = rows * padded_stride(in[0].shape.cols(), in[0].dtype);
    const Scratch p = scratch_of(all, all, in[0].dtype), logs = scratch_of(rows, rows, DType::f64);
    return {p.forward + logs.forward, p.backward + logs.backward};
  }
  void forward(Forward& c) override {
    const Rows rows(c.in(0));
    double sum = 0;
    for (int64_t r = 0; r < rows.logs.numel(); ++r) sum += rows.log(r) * rows.log(r);
    *c.out(0).data<double>() = sum;
  }
  void backward(Backward& c) override {
    if (!c.wants(0)) return;
    const Sink s = c.sink(0);
    const double g = *c.grad(0).data<double>();
    const Rows rows(c.in(0));
    dispatch_float(c.dtype(), [&]<class T>() {
      const View<const T> p = rows.p.view<T>();
      const View<T> d = s.into.view<T>();
      for (int64_t r = 0; r < p.rows; ++r)
        kernel::scale<T>(static_cast<T>(2 * g * rows.log(r)), p.part(r, 1), d.part(r, 1), s.accumulate);
    });
  }

 private:
  // The softmax of the rows, and the logs of their sums.
  struct Rows {
    explicit Rows(const Tensor& x)
        : p(Tensor::empty(x.shape(), x.dtype())), logs(Tensor::dense({x.rows()}, DType::f64)) {
      dispatch_float(x.dtype(), [&]<class T>() {
        const View<const T> in = x.view<T>();
        const View<T> out = p.view<T>();
        for_row_blocks(in.rows, [&](int64_t r, int64_t n) {
          kernel::softmax<T>(in.part(r, n), out.part(r, n), logs.data<double>() + r);
        });
      });
    }
    double log(int64_t r) const { return logs.data<double>()[r]; }
    Tensor p, logs;
  };
};

}  // namespace

Tensor softmax(const Tensor& x, int64_t groups) { return run(std::make_unique<SoftmaxOp>(groups), {x}); }
Tensor divide_by_sum(const Tensor& x, double eps) { return run(std::make_unique<DivideBySumOp>(eps), {x}); }
Tensor squared_log_sums(const Tensor& x) { return run(std::make_unique<SquaredLogSumsOp>(), {x}); }

}  // namespace effllm
