#include "ops/arithmetic.h"

#include "kernels/groups.h"
#include "kernels/pointwise.h"
#include "ops/rows.h"

namespace effllm {
namespace {

double count(std::span<const Tensor> in) { return static_cast<double>(in[0].numel()); }
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
    dispatch_float(c.in(0).dtype(), [&]<class T>() {
      const View<const T> a = c.in(0).view<T>(), b = c.in(1).view<T>();
      const auto y = c.out(0).view<T>();
      for_row_blocks(a.rows, [&](int64_t r, int64_t n) { kernel::sum<T>(a.part(r, n), b.part(r, n), y.part(r, n)); });
    });
  }
  void backward(Backward& c) override {  // both inputs share one gradient
    c.give(0, c.grad(0));
    c.give(1, c.grad(0));
  }
};

class MultiplyOp final : public Op {
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
  void forward(Forward& c) override {
    dispatch_float(c.in(0).dtype(), [&]<class T>() { product<T>(c.in(0), c.in(1), c.out(0), false); });
  }
  void backward(Backward& c) override {
    dispatch_float(c.dtype(), [&]<class T>() {
      for (int i : {0, 1})
        if (c.wants(i)) {
          const Sink s = c.sink(i);
          product<T>(c.grad(0), c.in(1 - i), s.into, s.accumulate);
        }
    });
  }

 private:
  template <class T>
  static void product(const Tensor& a, const Tensor& b, const Tensor& y, bool add) {
    const View<const T> p = a.view<T>(), q = b.view<T>();
    const auto o = y.view<T>();
    for_row_blocks(p.rows, [&](int64_t r, int64_t n) {
      kernel::multiply<T>(T(1), p.part(r, n), q.part(r, n), o.part(r, n), add);
    });
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
    dispatch_float(c.in(0).dtype(), [&]<class T>() {
      const View<const T> x = c.in(0).view<T>();
      const auto y = c.out(0).view<T>();
      const bool shift = offset_ != 0;
      if (shift) fill(c.out(0), offset_);
      for_row_blocks(x.rows, [&](int64_t r, int64_t n) {
        kernel::scale<T>(static_cast<T>(factor_), x.part(r, n), y.part(r, n), shift);
      });
    });
  }
  void backward(Backward& c) override {
    if (!c.wants(0)) return;
    const Sink s = c.sink(0);
    dispatch_float(c.dtype(), [&]<class T>() {
      const View<const T> g = c.grad(0).view<T>();
      const auto d = s.into.view<T>();
      for_row_blocks(g.rows, [&](int64_t r, int64_t n) {
        kernel::scale<T>(static_cast<T>(factor_), g.part(r, n), d.part(r, n), s.accumulate);
      });
    });
  }

 private:
  double factor_, offset_;
};

class AffineColumnsOp final : public Op {
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
  void forward(Forward& c) override {
    dispatch_float(c.in(0).dtype(), [&]<class T>() {
      const View<const T> x = c.in(0).view<T>();
      const auto y = c.out(0).view<T>();
      const T *w = c.in(1).defined() ? c.in(1).data<T>() : nullptr,
              *b = c.in(2).defined() ? c.in(2).data<T>() : nullptr;
      for_row_blocks(x.rows, [&](int64_t r, int64_t n) {
        if (w) return kernel::scale_columns<T>(x.part(r, n), w, b, y.part(r, n), false);
        if (b) return kernel::add_row<T>(x.part(r, n), b, y.part(r, n));
        kernel::scale<T>(T(1), x.part(r, n), y.part(r, n), false);
      });
    });
  }
  void backward(Backward& c) override {
    dispatch_float(c.dtype(), [&]<class T>() {
      const View<const T> g = c.grad(0).view<T>();
      if (!c.in(1).defined()) c.give(0, c.grad(0));
      if (const Sink s = c.in(1).defined() ? c.sink(0) : Sink{}; s.into.defined()) {
        const auto d = s.into.view<T>();
        for_row_blocks(g.rows, [&](int64_t r, int64_t n) {
          kernel::scale_columns<T>(g.part(r, n), c.in(1).data<T>(), nullptr, d.part(r, n), s.accumulate);
        });
      }
      if (const Sink s = c.sink(1); s.into.defined())
        kernel::column_dot<T>(g, c.in(0).view<T>(), s.into.data<T>(), s.accumulate);
      if (const Sink s = c.sink(2); s.into.defined()) kernel::column_sum<T>(g, s.into.data<T>(), s.accumulate);
    });
  }
};

}  // namespace

Tensor add(const Tensor& a, const Tensor& b) { return run(std::make_unique<AddOp>(), {a, b}); }
Tensor multiply(const Tensor& a, const Tensor& b) { return run(std::make_unique<MultiplyOp>(), {a, b}); }
Tensor scale(const Tensor& x, double factor) { return run(std::make_unique<AffineOp>(factor, 0), {x}); }
Tensor one_minus(const Tensor& x) { return run(std::make_unique<AffineOp>(-1, 1), {x}); }
Tensor affine_columns(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  return run(std::make_unique<AffineColumnsOp>(), {x, weight, bias});
}

}  // namespace effllm
