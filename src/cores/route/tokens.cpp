#include "cores/route/tokens.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "kernels/pointwise.h"
#include "ops/rows.h"

namespace effllm {
namespace {

void require_places(std::string_view op, const Tensor& x, const Tensor& at) {
  require(at.dtype() == DType::i64 && at.shape().rank() == 2 && x.shape().rank() >= 2 && x.dim(0) == at.dim(0) &&
              at.dim(1) <= x.dim(1),
          "{}: places{} among the tokens of {}", op, at.shape().str(), x.shape().str());
}

// Token t of sequence b as bytes: a row of [B, T, C], or a number of [B, T].
struct Rows {
  explicit Rows(const Tensor& x)
      : data(x.raw()),
        tokens(x.dim(1)),
        bytes(x.shape().rank() == 2 ? size_of(x.dtype()) : static_cast<size_t>(x.cols()) * size_of(x.dtype())),
        stride(x.shape().rank() == 2 ? bytes : static_cast<size_t>(x.stride()) * size_of(x.dtype())) {}
  std::byte* operator()(int64_t b, int64_t t) const { return data + static_cast<size_t>(b * tokens + t) * stride; }
  std::byte* data;
  int64_t tokens;
  size_t bytes, stride;
};

// f(b, i, place) of all places.
template <class F>
void for_places(const Tensor& at, F&& f) {
  const View<const int64_t> v = at.view<int64_t>();
  for (int64_t b = 0; b < v.rows; ++b)
    for (int64_t i = 0; i < v.cols; ++i) f(b, i, v.row(b)[i]);
}
void check(const Tensor& at, int64_t tokens) {
  const View<const int64_t> v = at.view<int64_t>();
  for_places(at, [&](int64_t b, int64_t i, int64_t t) {
    require(t > (i ? v.row(b)[i - 1] : -1) && t < tokens, "place {} of {} tokens stands at {} of an ascending list", t,
            tokens, i);
  });
}

// to (+)= from, rows [row, row + 1) of each.
template <class T>
void add_row(const View<const T>& from, int64_t row, const View<T>& to, int64_t to_row, bool add) {
  kernel::scale<T>(1, from.part(row, 1), to.part(to_row, 1), add);
}

class TakeTokensOp final : public Op {
 public:
  std::string_view name() const override { return "take_tokens"; }
  Outputs infer(std::span<const Tensor> in) const override {
    require_places(name(), in[0], in[1]);
    return {{in[0].shape().with(1, in[1].dim(1)), in[0].dtype(), in[0].shape().rank() == 2}};
  }
  Cost cost(std::span<const Tensor> in) const override {
    const double bytes = static_cast<double>(in[0].bytes()) * static_cast<double>(in[1].dim(1)) /
                         static_cast<double>(std::max<int64_t>(1, in[0].dim(1)));
    return {0, 0, 2 * bytes, 2 * bytes};
  }
  Keeps keeps() const override { return {.inputs = 2}; }
  void forward(Forward& c) override {
    check(c.in(1), c.in(0).dim(1));
    const Rows from(c.in(0)), to(c.out(0));
    for_places(c.in(1), [&](int64_t b, int64_t i, int64_t t) { std::memcpy(to(b, i), from(b, t), from.bytes); });
  }
  void backward(Backward& c) override {
    if (!c.wants(0)) return;
    const Sink s = c.sink(0);
    if (!s.accumulate) fill(s.into, 0);
    const int64_t tokens = c.in_shape(0)[1], count = c.in(1).dim(1);
    dispatch_float(c.dtype(), [&]<class T>() {
      for_places(c.in(1), [&](int64_t b, int64_t i, int64_t t) {
        add_row<T>(c.grad(0).view<T>(), b * count + i, s.into.view<T>(), b * tokens + t, true);
      });
    });
  }
};

class PutTokensOp final : public Op {
 public:
  std::string_view name() const override { return "put_tokens"; }
  Outputs infer(std::span<const Tensor> in) const override {
    require_places(name(), in[0], in[1]);
    require(in[2].shape() == in[0].shape().with(1, in[1].dim(1)) && in[2].dtype() == in[0].dtype(),
            "put_tokens: {} in {} places of {}", in[2].shape().str(), in[1].dim(1), in[0].shape().str());
    return {{in[0].shape(), in[0].dtype()}};
  }
  Cost cost(std::span<const Tensor> in) const override {
    const auto bytes = static_cast<double>(in[0].bytes());
    return {0, 0, 2 * bytes, 2 * bytes};
  }
  Keeps keeps() const override { return {.inputs = 2}; }
  void forward(Forward& c) override {
    check(c.in(1), c.in(0).dim(1));
    copy(c.in(0), c.out(0));
    const Rows from(c.in(2)), to(c.out(0));
    for_places(c.in(1), [&](int64_t b, int64_t i, int64_t t) { std::memcpy(to(b, t), from(b, i), from.bytes); });
  }
  void backward(Backward& c) override {
    const int64_t tokens = c.in_shape(0)[1], count = c.in(1).dim(1);
    const Sink dx = c.sink(0), dy = c.sink(2);
    dispatch_float(c.dtype(), [&]<class T>() {
      const View<const T> g = c.grad(0).view<T>();
      if (dx.into.defined()) {
        const View<T> d = dx.into.view<T>();
        const Tensor others = marked_tokens(c.in(1), tokens, DType::i64);
        const int64_t* put = others.data<int64_t>();
        for (int64_t r = 0; r < d.rows; ++r)
          if (!put[r])
            add_row<T>(g, r, d, r, dx.accumulate);
          else if (!dx.accumulate)
            std::fill_n(d.row(r), d.cols, T(0));
      }
      if (dy.into.defined())
        for_places(c.in(1), [&](int64_t b, int64_t i, int64_t t) {
          add_row<T>(g, b * tokens + t, dy.into.view<T>(), b * count + i, dy.accumulate);
        });
    });
  }
};

class TopTokensOp final : public Op {
 public:
  TopTokensOp(int64_t count, bool margin) : count_(count), margin_(margin) {}
  std::string_view name() const override { return "top_tokens"; }
  Outputs infer(std::span<const Tensor> in) const override {
    const Shape& s = in[0].shape();
    require(s.rank() == 3 && s[2] == 1 && is_float(in[0].dtype()) && count_ >= 0 && count_ <= s[1],
            "top_tokens: {} of scores{}", count_, s.str());
    const TensorSpec lists{{s[0], count_}, DType::i64};
    if (margin_) return {lists, {s, in[0].dtype()}};
    return {lists};
  }
  Cost cost(std::span<const Tensor> in) const override {
    const auto n = static_cast<double>(in[0].numel());
    return {n * std::log2(n + 1), 0, static_cast<double>(in[0].bytes()), 0};
  }
  void forward(Forward& c) override {
    const int64_t tokens = c.in(0).dim(1);
    dispatch_float(c.in(0).dtype(), [&]<class T>() {
      for (int64_t b = 0; b < c.in(0).dim(0); ++b) {
        const View<const T> score = c.in(0).view<T>().part(b * tokens, tokens);
        std::vector<int64_t> order(static_cast<size_t>(tokens));
        for (int64_t t = 0; t < tokens; ++t) order[static_cast<size_t>(t)] = t;
        std::ranges::stable_sort(order, [&](int64_t i, int64_t j) { return *score.row(i) > *score.row(j); });
        if (margin_) {
          const bool some = count_ > 0 && count_ < tokens;
          const T last = some ? *score.row(order[static_cast<size_t>(count_ - 1)]) : 0,
                  first = some ? *score.row(order[static_cast<size_t>(count_)]) : 0;
          for (int64_t i = 0; i < tokens; ++i) {
            const int64_t t = order[static_cast<size_t>(i)];
            *c.out(1).view<T>().row(b * tokens + t) = !some        ? std::numeric_limits<T>::infinity()
                                                      : i < count_ ? *score.row(t) - first
                                                                   : last - *score.row(t);
          }
        }
        std::sort(order.begin(), order.begin() + count_);
        std::copy_n(order.begin(), count_, c.out(0).view<int64_t>().row(b));
      }
    });
  }
  void backward(Backward&) override {}

 private:
  int64_t count_;
  bool margin_;
};

}  // namespace

Tensor take_tokens(const Tensor& x, const Tensor& at) { return run(std::make_unique<TakeTokensOp>(), {x, at}); }
Tensor put_tokens(const Tensor& x, const Tensor& at, const Tensor& y) {
  return run(std::make_unique<PutTokensOp>(), {x, at, y});
}

Tensor top_tokens(const Tensor& score, int64_t count, Tensor* margin) {
  auto out = run_many(std::make_unique<TopTokensOp>(count, margin != nullptr), {score.untracked()});
  if (margin) *margin = std::move(out[1]);
  return std::move(out[0]);
}

Tensor marked_tokens(const Tensor& at, int64_t tokens, DType t) {
  const Tensor marks = Tensor::zeros({at.dim(0), tokens, 1}, t);
  if (marks.is_meta()) return marks;
  for_places(at, [&](int64_t b, int64_t, int64_t token) {
    const int64_t row = b * tokens + token;
    if (t == DType::i64)
      *marks.view<int64_t>().row(row) = 1;
    else
      dispatch_float(t, [&]<class T>() { *marks.view<T>().row(row) = 1; });
  });
  return marks;
}

}  // namespace effllm
