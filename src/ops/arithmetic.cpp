#include "ops/arithmetic.h"

#include "kernels/groups.h"
#include "kernels/pointwise.h"
#include "ops/rows.h"

namespace effllm {
namespace {

double count(std::span<const Tensor> in) { return numbers(in[0]); }
double bytes(std::span<const Tensor> in) { return static_cast<double>(in[0].bytes()); }

void require_same(std::string_view op, std::span<const Tensor> in) {
  require(in[0].shape() == in[1].shape() && in[0].dtype() == in[1].dtype(), "{}: {} {} and {} {} differ", op,
          to_string(in[0].dtype()), in[0].shape().str(), to_string(in[1].dtype()), in[1].shape().str());
}

class AddOp final : public Op {
 public:
  std::string_view name() const override { return "add"; }
  Outputs infer(std::span<const Tensor> in) const override {
    require_same("add", in);
    return {{in[0].shape(), in[0].dtype()}};
  }
  Cost cost(std::span<const Tensor> in) const override { return {count(in), 0, 3 * bytes(in), 0}; }
  void forward(Forward& c) override {
    dispatch_float(c.in(0).dtype(), [&]<class T>() { on_rows<T>(kernel::sum<T>, c.in(0), c.in(1), c.out(0)); });
  }
  void backward(Backward& c) override {  // both inputs share one gradient
    c.give(0, c.grad(0));
    c.give(1, c.grad(0));
  }
};

class MultiplyOp final : public FloatOp<MultiplyOp> {
 public:
  std::string_view name() const override { return "multiply"; }
  Outputs infer(std::span<const Tensor> in) const override {
    require_same("multiply", in);
    return {{in[0].shape(), in[0].dtype()}};
  }
  Cost cost(std::span<const Tensor> in) const override {
    return {count(in), 2 * count(in), 3 * bytes(in), 5 * bytes(in)};
  }
  Keeps keeps() const override { return {.inputs = 3}; }
  template <class T>
  void forward_in(Forward& c) {
    product<T>(c.in(0), c.in(1), c.out(0), false);
  }
  template <class T>
  void backward_in(Backward& c) {
    for (int i : {0, 1})
      if (const Sink s = c.sink(i)) product<T>(c.grad(0), c.in(1 - i), s.into, s.accumulate);
  }

 private:
  template <class T>
  static void product(const Tensor& a, const Tensor& b, const Tensor& y, bool add) {
    on_rows<T>([&](auto p, auto q, auto o) { kernel::multiply<T>(T(1), p, q, o, add); }, a, b, y);
  }
};

// y = offset + factor x
class AffineOp final : public Op {
 public:
  AffineOp(double factor, double offset) : factor_(factor), offset_(offset) {}
  std::string_view name() const override { return offset_ == 0 ? "scale" : "one_minus"; }
  Outputs infer(std::span<const Tensor> in) const override { return {{in[0].shape(), in[0].dtype()}}; }
  Cost cost(std::span<const Tensor> in) const override { return {count(in), count(in), 2 * bytes(in), 2 * bytes(in)}; }
  void forward(Forward& c) override {
    if (offset_ != 0) fill(c.out(0), offset_);
    multiply(c.in(0), c.out(0), offset_ != 0);
  }
  void backward(Backward& c) override {
    if (const Sink s = c.sink(0)) multiply(c.grad(0), s.into, s.accumulate);
  }

 private:
  void multiply(const Tensor& from, const Tensor& to, bool add) const {
    dispatch_float(from.dtype(), [&]<class T>() {
      on_rows<T>([&](auto x, auto y) { kernel::scale<T>(static_cast<T>(factor_), x, y, add); }, from, to);
    });
  }
  double factor_, offset_;
};

class ScaleByOp final : public FloatOp<ScaleByOp> {
 public:
  std::string_view name() const override { return "scale_by"; }
  Outputs infer(std::span<const Tensor> in) const override {
    require(in[1].numel() == 1 && in[1].dtype() == in[0].dtype(), "scale_by: {} is not one number of {}",
            in[1].shape().str(), to_string(in[0].dtype()));
    return {{in[0].shape(), in[0].dtype()}};
  }
  Cost cost(std::span<const Tensor> in) const override {
    return {count(in), 3 * count(in), 2 * bytes(in), 3 * bytes(in)};
  }
  Keeps keeps() const override { return {.inputs = 3}; }
  template <class T>
  void forward_in(Forward& c) {
    multiply<T>(c.in(0), c.in(1), c.out(0), false);
  }
  template <class T>
  void backward_in(Backward& c) {
    if (const Sink s = c.sink(0)) multiply<T>(c.grad(0), c.in(1), s.into, s.accumulate);
    if (!c.wants(1)) return;
    const View<const T> x = c.in(0).view<T>(), g = c.grad(0).view<T>();
    const Tensor d = c.sum(1);
    for (int64_t r = 0; r < x.rows; ++r) kernel::group_dot<T>(x.part(r, 1), g.part(r, 1), d.view<T>(), true);
  }

 private:
  template <class T>
  static void multiply(const Tensor& from, const Tensor& factor, const Tensor& to, bool add) {
    on_rows<T>([&](auto x, auto y) { kernel::scale<T>(*factor.data<T>(), x, y, add); }, from, to);
  }
};

class AffineColumnsOp final : public FloatOp<AffineColumnsOp> {
 public:
  std::string_view name() const override { return "affine_columns"; }
  Outputs infer(std::span<const Tensor> in) const override {
    for (int i : {1, 2}) {
      const Tensor& t = in[static_cast<size_t>(i)];
      require(!t.defined() || (t.numel() == in[0].cols() && t.dtype() == in[0].dtype()),
              "affine_columns: {} {} for the columns of {} {}", to_string(t.dtype()), t.shape().str(),
              to_string(in[0].dtype()), in[0].shape().str());
    }
    return {{in[0].shape(), in[0].dtype()}};
  }
  Cost cost(std::span<const Tensor> in) const override {
    const double scaled = in[1].defined() ? count(in) : 0, shifted = in[2].defined() ? count(in) : 0;
    return {scaled + shifted, 3 * scaled + shifted, 2 * bytes(in), 4 * bytes(in)};
  }
  Keeps keeps() const override { return {.inputs = 3}; }
  template <class T>
  void forward_in(Forward& c) {
    const T *w = data_or_null<T>(c.in(1)), *b = data_or_null<T>(c.in(2));
    const auto block = [&](auto x, auto y) {
      if (w) return kernel::scale_columns<T>(x, w, b, y, false);
      if (b) return kernel::add_row<T>(x, b, y);
      kernel::scale<T>(T(1), x, y, false);
    };
    on_rows<T>(block, c.in(0), c.out(0));
  }
  template <class T>
  void backward_in(Backward& c) {
    const View<const T> g = c.grad(0).view<T>();
    if (!c.in(1).defined()) c.give(0, c.grad(0));
    if (const Sink s = c.in(1).defined() ? c.sink(0) : Sink{}) {
      const T* w = c.in(1).data<T>();
      on_rows<T>([&](auto dy, auto dx) { kernel::scale_columns<T>(dy, w, nullptr, dx, s.accumulate); }, c.grad(0),
                 s.into);
    }
    if (const Sink s = c.sink(1)) kernel::column_dot<T>(g, c.in(0).view<T>(), s.into.data<T>(), s.accumulate);
    if (const Sink s = c.sink(2)) kernel::column_sum<T>(g, s.into.data<T>(), s.accumulate);
  }
};

}  // namespace

Tensor add(const Tensor& a, const Tensor& b) { return run(std::make_unique<AddOp>(), {a, b}); }
Tensor multiply(const Tensor& a, const Tensor& b) { return run(std::make_unique<MultiplyOp>(), {a, b}); }
Tensor scale(const Tensor& x, double factor) { return run(std::make_unique<AffineOp>(factor, 0), {x}); }
Tensor scale_by(const Tensor& x, const Tensor& factor) { return run(std::make_unique<ScaleByOp>(), {x, factor}); }

Tensor one_minus(const Tensor& x) { return run(std::make_unique<AffineOp>(-1, 1), {x}); }
Tensor affine_columns(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  return run(std::make_unique<AffineColumnsOp>(), {x, weight, bias});
}

}  // namespace effllm
