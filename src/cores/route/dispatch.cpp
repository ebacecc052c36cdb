#include "cores/route/dispatch.h"

#include <span>
#include <utility>
#include <vector>

#include "cores/route/packed.h"
#include "kernels/groups.h"
#include "kernels/pointwise.h"
#include "ops/rows.h"

namespace effllm {
namespace {

class DispatchOp final : public Op {
 public:
  DispatchOp(int64_t count, int64_t room) : count_(count), room_(room) {}
  std::string_view name() const override { return "dispatch_to"; }
  Outputs infer(std::span<const Tensor> in) const override {
    require(in[0].dtype() == DType::i64 && in[0].shape().rank() == 3 && count_ >= 1,
            "dispatch_to: lists [B, T, k] of experts, not {} of {}", in[0].shape().str(), to_string(in[0].dtype()));
    return {{in[0].shape(), DType::i64}, {{count_ + 1}, DType::i64}};
  }
  Cost cost(std::span<const Tensor> in) const override {
    return {static_cast<double>(in[0].numel()), 0, 3 * static_cast<double>(in[0].bytes()), 0};
  }
  void forward(Forward& c) override {
    const View<const int64_t> experts = c.in(0).view<int64_t>();
    const View<int64_t> rows = c.out(0).view<int64_t>();
    int64_t* starts = c.out(1).data<int64_t>();
    const auto each = [&](auto&& f) {
      for (int64_t r = 0; r < experts.rows; ++r)
        for (int64_t j = 0; j < experts.cols; ++j) f(experts.row(r)[j], rows.row(r)[j]);
    };
    std::fill_n(starts, count_ + 1, int64_t{0});
    each([&](int64_t e, int64_t&) {
      require(e >= -1 && e < count_, "dispatch_to: expert {} of {}", e, count_);
      if (e >= 0) ++starts[e + 1];
    });
    for (int64_t e = 0; e < count_; ++e) starts[e + 1] += starts[e];
    require(starts[count_] <= room_, "dispatch_to: {} choices, with room for {}", starts[count_], room_);
    std::vector<int64_t> next(starts, starts + count_);
    each([&](int64_t e, int64_t& row) { row = e < 0 ? -1 : next[static_cast<size_t>(e)]++; });
  }
  void backward(Backward&) override {}

 private:
  int64_t count_, room_;
};

Cost moved(const Tensor& x, double times, double flops) {
  const auto bytes = static_cast<double>(x.bytes()), n = static_cast<double>(x.numel()) * times;
  return {flops * n, (1 + flops) * n, (1 + times) * bytes, (1 + times) * bytes};
}

// f(token, the rows of its choices) for all tokens, a block of them at a time.
template <class F>
void for_tokens(const Tensor& rows, F&& f) {
  const View<const int64_t> of = rows.view<int64_t>();
  for_row_blocks(of.rows, [&](int64_t from, int64_t n) {
    for (int64_t r = from; r < from + n; ++r) f(r, std::span<const int64_t>(of.row(r), static_cast<size_t>(of.cols)));
  });
}

class PackOp final : public Op {
 public:
  explicit PackOp(int64_t room) : room_(room) {}
  std::string_view name() const override { return "pack_rows"; }
  Outputs infer(std::span<const Tensor> in) const override {
    require(in[0].shape().rank() == 3 && in[1].dtype() == DType::i64 &&
                in[1].shape() == in[0].shape().with(2, in[1].cols()),
            "pack_rows: rows{} for x{}", in[1].shape().str(), in[0].shape().str());
    return {{{room_, in[0].cols()}, in[0].dtype()}};
  }
  Cost cost(std::span<const Tensor> in) const override {
    return moved(in[0], static_cast<double>(room_) / static_cast<double>(in[0].rows()), 0);
  }
  Keeps keeps() const override { return {.inputs = 2}; }
  void forward(Forward& c) override {
    dispatch_float(c.in(0).dtype(), [&]<class T>() {
      const View<const T> x = c.in(0).view<T>();
      const View<T> packed = c.out(0).view<T>();
      for_tokens(c.in(1), [&](int64_t r, std::span<const int64_t> rows) {
        for (int64_t row : rows)
          if (row >= 0) std::copy_n(x.row(r), x.cols, packed.row(row));
      });
      clear_unused(packed, c.in(2));
    });
  }
  void backward(Backward& c) override {
    if (!c.wants(0)) return;
    const Sink s = c.sink(0);
    dispatch_float(c.dtype(), [&]<class T>() {
      const View<const T> g = c.grad(0).view<T>();
      const View<T> d = s.into.view<T>();
      for_tokens(c.in(1), [&](int64_t r, std::span<const int64_t> rows) {
        bool add = s.accumulate;
        for (int64_t row : rows)
          if (row >= 0) kernel::scale<T>(1, g.part(row, 1), d.part(r, 1), std::exchange(add, true));
        if (!add) std::fill_n(d.row(r), d.cols, T(0));
      });
    });
  }

 private:
  int64_t room_;
};

class UnpackOp final : public Op {
 public:
  explicit UnpackOp(int64_t room) : room_(room) {}
  std::string_view name() const override { return "unpack_rows"; }
  Outputs infer(std::span<const Tensor> in) const override {
    require(in[1].shape().rank() == 3 && in[2].shape() == in[1].shape() && in[2].dtype() == DType::i64 &&
                in[0].rows() == room_ && in[0].dtype() == in[1].dtype(),
            "unpack_rows: {} rows with weights{} in places{}", in[0].rows(), in[1].shape().str(), in[2].shape().str());
    return {{in[1].shape().with(2, in[0].cols()), in[0].dtype()}};
  }
  Cost cost(std::span<const Tensor> in) const override { return moved(in[0], 1, 2); }
  Keeps keeps() const override { return {.inputs = 7 | 1 << 3}; }
  void forward(Forward& c) override {
    dispatch_float(c.in(0).dtype(), [&]<class T>() {
      const View<const T> packed = c.in(0).view<T>(), weight = c.in(1).view<T>();
      const View<T> y = c.out(0).view<T>();
      for_tokens(c.in(2), [&](int64_t r, std::span<const int64_t> rows) {
        bool add = false;
        for (size_t j = 0; j < rows.size(); ++j)
          if (rows[j] >= 0)
            kernel::scale<T>(weight.row(r)[j], packed.part(rows[j], 1), y.part(r, 1), std::exchange(add, true));
        if (!add) std::fill_n(y.row(r), y.cols, T(0));
      });
    });
  }
  void backward(Backward& c) override {
    const Sink d_packed = c.sink(0), d_weight = c.sink(1);
    dispatch_float(c.dtype(), [&]<class T>() {
      const View<const T> packed = c.in(0).view<T>(), weight = c.in(1).view<T>(), g = c.grad(0).view<T>();
      const View<T> dp = d_packed.into.defined() ? d_packed.into.view<T>() : View<T>{};
      const View<T> dw = d_weight.into.defined() ? d_weight.into.view<T>() : View<T>{};
      for_tokens(c.in(2), [&](int64_t r, std::span<const int64_t> rows) {
        for (size_t j = 0; j < rows.size(); ++j) {
          const int64_t row = rows[j];
          if (dp && row >= 0) kernel::scale<T>(weight.row(r)[j], g.part(r, 1), dp.part(row, 1), d_packed.accumulate);
          if (!dw) continue;
          T* to = dw.row(r) + j;
          if (row >= 0)
            kernel::group_dot<T>(packed.part(row, 1), g.part(r, 1), {to, 1, 1, 1}, d_weight.accumulate);
          else if (!d_weight.accumulate)
            *to = 0;
        }
      });
      if (dp && !d_packed.accumulate) clear_unused(dp, c.in(3));
    });
  }

 private:
  int64_t room_;
};

}  // namespace

Dispatch dispatch_to(const Tensor& experts, int64_t count, int64_t room) {
  if (room == 0) room = experts.numel();
  auto out = run_many(std::make_unique<DispatchOp>(count, room), {experts});
  return {std::move(out[0]), std::move(out[1]), room};
}

Tensor pack_rows(const Tensor& x, const Dispatch& to) {
  return run(std::make_unique<PackOp>(to.room), {x, to.rows, to.starts});
}

Tensor unpack_rows(const Tensor& packed, const Tensor& weights, const Dispatch& to) {
  return run(std::make_unique<UnpackOp>(to.room), {packed, weights, to.rows, to.starts});
}

}  // namespace effllm
