#include "cores/route/listed_rows.h"

#include "kernels/groups.h"
#include "kernels/pointwise.h"
#include "ops/rows.h"

namespace effllm {
namespace {

// f(token, place in its list, row of the table)
template <class F>
void each_listed(const Tensor& lists, F&& f) {
  const View<const int64_t> rows = lists.view<int64_t>();
  for_row_blocks(rows.rows, [&](int64_t from, int64_t n) {
    for (int64_t r = from; r < from + n; ++r)
      for (int64_t j = 0; j < rows.cols; ++j) f(r, j, rows.row(r)[j]);
  });
}

// y[r, j] (+)= x_r . table[list_rj]
template <class T>
void dots(View<const T> x, View<const T> table, const Tensor& lists, View<T> y, bool add) {
  each_listed(lists, [&](int64_t r, int64_t j, int64_t row) {
    kernel::group_dot<T>(x.part(r, 1), table.part(row, 1), {y.row(r) + j, 1, 1, 1}, add);
  });
}

// y_r (+)= sum over j of weight[r, j] table[list_rj]
template <class T>
void sums(View<const T> weight, View<const T> table, const Tensor& lists, View<T> y, bool add) {
  each_listed(lists, [&](int64_t r, int64_t j, int64_t row) {
    kernel::scale<T>(weight.row(r)[j], table.part(row, 1), y.part(r, 1), add || j > 0);
  });
}

// d[list_rj] += weight[r, j] x_r. Threads share out columns, so that no two write to one place and tokens add up in
// order.
template <class T>
void scatter(View<const T> weight, View<const T> x, const Tensor& lists, View<T> d) {
  const View<const int64_t> rows = lists.view<int64_t>();
  constexpr int64_t kColumns = 64;
  parallel_for(x.cols, kColumns, [&](int64_t from, int64_t to) {
    for (int64_t r = 0; r < x.rows; ++r)
      for (int64_t j = 0; j < rows.cols; ++j)
        kernel::scale<T>(weight.row(r)[j], x.part(r, 1).columns(from, to - from),
                         d.part(rows.row(r)[j], 1).columns(from, to - from), true);
  });
}

// The three inputs: what is multiplied, the table, the lists.
class ListedOp : public Op {
 public:
  Cost cost(std::span<const Tensor> in) const override {
    const auto products = static_cast<double>(2 * in[2].numel() * in[1].cols()),
               bytes = static_cast<double>(in[2].numel() * in[1].cols()) * static_cast<double>(size_of(in[1].dtype()));
    return {products, 2 * products, bytes, 3 * bytes + static_cast<double>(in[1].bytes()), products};
  }
  Keeps keeps() const override { return {.inputs = 7}; }

 protected:
  void check(std::span<const Tensor> in, int64_t want) const {
    require(in[2].dtype() == DType::i64 && in[1].shape().rank() == 2 && in[0].shape().rank() == 3 &&
                in[2].shape() == in[0].shape().with(2, in[2].cols()) && in[0].cols() == want &&
                in[0].dtype() == in[1].dtype(),
            "{}: {} with lists{} of rows of {}", name(), in[0].shape().str(), in[2].shape().str(), in[1].shape().str());
  }
};

class DotListedOp final : public ListedOp {
 public:
  std::string_view name() const override { return "dot_listed"; }
  Outputs infer(std::span<const Tensor> in) const override {
    check(in, in[1].cols());
    return {{in[2].shape(), in[0].dtype()}};
  }
  void forward(Forward& c) override {
    dispatch_float(c.in(0).dtype(), [&]<class T>() {
      dots<T>(c.in(0).view<T>(), c.in(1).view<T>(), c.in(2), c.out(0).view<T>(), false);
    });
  }
  void backward(Backward& c) override {
    const Sink d_x = c.sink(0);
    dispatch_float(c.dtype(), [&]<class T>() {
      const View<const T> g = c.grad(0).view<T>();
      if (d_x) sums<T>(g, c.in(1).view<T>(), c.in(2), d_x.view<T>(), d_x.accumulate);
      if (c.wants(1)) scatter<T>(g, c.in(0).view<T>(), c.in(2), c.sum(1).view<T>());
    });
  }
};

class AddListedOp final : public ListedOp {
 public:
  std::string_view name() const override { return "add_listed"; }
  Outputs infer(std::span<const Tensor> in) const override {
    check(in, in[2].cols());
    return {{in[0].shape().with(2, in[1].cols()), in[0].dtype()}};
  }
  void forward(Forward& c) override {
    dispatch_float(c.in(0).dtype(), [&]<class T>() {
      sums<T>(c.in(0).view<T>(), c.in(1).view<T>(), c.in(2), c.out(0).view<T>(), false);
    });
  }
  void backward(Backward& c) override {
    const Sink d_weights = c.sink(0);
    dispatch_float(c.dtype(), [&]<class T>() {
      const View<const T> g = c.grad(0).view<T>();
      if (d_weights) dots<T>(g, c.in(1).view<T>(), c.in(2), d_weights.view<T>(), d_weights.accumulate);
      if (c.wants(1)) scatter<T>(c.in(0).view<T>(), g, c.in(2), c.sum(1).view<T>());
    });
  }
};

}  // namespace

Tensor dot_listed(const Tensor& x, const Tensor& table, const Tensor& lists) {
  return run(std::make_unique<DotListedOp>(), {x, table, lists});
}

Tensor add_listed(const Tensor& weights, const Tensor& table, const Tensor& lists) {
  return run(std::make_unique<AddListedOp>(), {weights, table, lists});
}

}  // namespace effllm
