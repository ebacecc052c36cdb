#include "cores/route/choose.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "ops/rows.h"

namespace effllm {
namespace {

// Whom one token chooses from `score`.
template <class T>
struct Chooser {
  const Choosing& how;
  std::vector<T> score;
  std::vector<int64_t> order = {};  // of those that may be chosen, best first
  T margin = std::numeric_limits<T>::infinity();

  void sort(std::vector<int64_t>& index, const std::vector<T>& by) {
    std::ranges::stable_sort(
        index, [&](int64_t a, int64_t b) { return by[static_cast<size_t>(a)] > by[static_cast<size_t>(b)]; });
  }
  T at(size_t place) const { return score[static_cast<size_t>(order[place])]; }

  // The experts of the best groups, in order of index.
  void enter_groups() {
    const auto groups = static_cast<size_t>(how.groups), kept = static_cast<size_t>(how.kept);
    const size_t size = score.size() / groups;
    std::vector<T> two_best(groups);
    std::vector<int64_t> rank;
    for (size_t g = 0; g < groups; ++g) {
      std::vector<T> own(score.begin() + static_cast<int64_t>(g * size),
                         score.begin() + static_cast<int64_t>((g + 1) * size));
      std::ranges::sort(own, std::greater());
      two_best[g] = size > 1 ? own[0] + own[1] : own[0];
      rank.push_back(static_cast<int64_t>(g));
    }
    sort(rank, two_best);
    if (kept < groups)
      margin = two_best[static_cast<size_t>(rank[kept - 1])] - two_best[static_cast<size_t>(rank[kept])];
    std::sort(rank.begin(), rank.begin() + how.kept);
    for (size_t i = 0; i < kept; ++i)
      for (size_t e = 0; e < size; ++e) order.push_back(rank[i] * static_cast<int64_t>(size) + static_cast<int64_t>(e));
  }

  size_t choose() {  // how many, from the front of `order`
    enter_groups();
    sort(order, score);
    size_t n = 0;
    switch (how.by) {
      case ChooseBy::count:
        n = static_cast<size_t>(how.count);
        if (n < order.size()) margin = std::min(margin, at(n - 1) - at(n));
        return n;
      case ChooseBy::share: {
        T sum = 0;
        const T enough = static_cast<T>(how.share);
        while (n < order.size() && sum < enough) {
          if (n > 0) margin = std::min(margin, enough - sum);
          sum += at(n++);
        }
        margin = std::min(margin, std::abs(sum - enough));
        return n;
      }
      case ChooseBy::positive:
        while (n < order.size() && at(n) > 0) ++n;
        if (n > 0) margin = std::min(margin, at(n - 1));
        if (n < order.size()) margin = std::min(margin, -at(n));
        return n;
    }
    return n;
  }
};

class ChooseOp final : public Op {
 public:
  ChooseOp(const Choosing& how, bool margin) : how_(how), margin_(margin) {}
  std::string_view name() const override { return "choose_experts"; }
  Outputs infer(std::span<const Tensor> in) const override {
    const Shape& s = in[0].shape();
    require(s.rank() == 3 && is_float(in[0].dtype()) && how_.groups >= 1 && s[2] % how_.groups == 0 && how_.kept >= 1 &&
                how_.kept <= how_.groups && how_.slots(s[2]) >= 1 &&
                (how_.by != ChooseBy::count || how_.count <= s[2] / how_.groups * how_.kept),
            "choose_experts: {} of scores{} in {} groups, {} of them kept", how_.slots(s[2]), s.str(), how_.groups,
            how_.kept);
    require(!in[1].defined() || (in[1].shape() == Shape{s[2]} && in[1].dtype() == in[0].dtype()),
            "choose_experts: a bias{} for scores{}", in[1].shape().str(), s.str());
    const TensorSpec lists{s.with(2, how_.slots(s[2])), DType::i64};
    if (margin_) return {lists, {s.with(2, 1), in[0].dtype()}};
    return {lists};
  }
  Cost cost(std::span<const Tensor> in) const override {
    const auto n = static_cast<double>(in[0].numel());
    return {n * std::log2(static_cast<double>(in[0].cols()) + 1), 0, static_cast<double>(in[0].bytes()), 0};
  }
  void forward(Forward& c) override {
    dispatch_float(c.in(0).dtype(), [&]<class T>() {
      const View<const T> score = c.in(0).view<T>();
      const View<int64_t> lists = c.out(0).view<int64_t>();
      const T* bias = c.in(1).defined() ? c.in(1).data<T>() : nullptr;
      for_row_blocks(score.rows, [&](int64_t from, int64_t n) {
        for (int64_t r = from; r < from + n; ++r) {
          Chooser<T> token{how_, {score.row(r), score.row(r) + score.cols}};
          if (bias)
            for (size_t e = 0; e < token.score.size(); ++e) token.score[e] += bias[e];
          const size_t chosen = token.choose();
          std::fill_n(lists.row(r), lists.cols, int64_t{-1});
          std::copy_n(token.order.begin(), chosen, lists.row(r));
          if (margin_) *c.out(1).view<T>().row(r) = token.margin;
        }
      });
    });
  }
  void backward(Backward&) override {}

 private:
  Choosing how_;
  bool margin_;
};

class LimitOp final : public Op {
 public:
  LimitOp(int64_t count, int64_t capacity, DropOrder order) : count_(count), capacity_(capacity), order_(order) {}
  std::string_view name() const override { return "limit_experts"; }
  Outputs infer(std::span<const Tensor> in) const override {
    require(in[0].shape().rank() == 3 && in[0].dtype() == DType::i64 && capacity_ >= 0 && count_ >= 1,
            "limit_experts: {} of {} experts in {}", capacity_, count_, in[0].shape().str());
    return {{in[0].shape(), DType::i64}};
  }
  Cost cost(std::span<const Tensor> in) const override {
    return {static_cast<double>(in[0].numel()), 0, 2 * static_cast<double>(in[0].bytes()), 0};
  }
  void forward(Forward& c) override {
    const int64_t tokens = c.in(0).dim(1), k = c.in(0).cols();
    const View<const int64_t> experts = c.in(0).view<int64_t>();
    const View<int64_t> kept = c.out(0).view<int64_t>();
    parallel_for(c.in(0).dim(0), 1, [&](int64_t b, int64_t) {
      std::vector<int64_t> taken(static_cast<size_t>(count_));
      const auto take = [&](int64_t t, int64_t j) {
        const int64_t e = experts.row(b * tokens + t)[j];
        kept.row(b * tokens + t)[j] = e >= 0 && taken[static_cast<size_t>(e)]++ < capacity_ ? e : -1;
      };
      if (order_ == DropOrder::token_major)
        for (int64_t t = 0; t < tokens; ++t)
          for (int64_t j = 0; j < k; ++j) take(t, j);
      else
        for (int64_t j = 0; j < k; ++j)
          for (int64_t t = 0; t < tokens; ++t) take(t, j);
    });
  }
  void backward(Backward&) override {}

 private:
  int64_t count_, capacity_;
  DropOrder order_;
};

// f(row, place in its list, expert)
template <class F>
void each_listed(const Tensor& experts, F&& f) {
  const View<const int64_t> lists = experts.view<int64_t>();
  for (int64_t r = 0; r < lists.rows; ++r)
    for (int64_t j = 0; j < lists.cols; ++j) f(r, j, lists.row(r)[j]);
}

class ScoresOfOp final : public Op {
 public:
  std::string_view name() const override { return "scores_of"; }
  Outputs infer(std::span<const Tensor> in) const override {
    require(in[1].dtype() == DType::i64 && in[1].shape() == in[0].shape().with(-1, in[1].cols()),
            "scores_of: {} of scores{}", in[1].shape().str(), in[0].shape().str());
    return {{in[1].shape(), in[0].dtype()}};
  }
  Cost cost(std::span<const Tensor> in) const override {
    const double bytes = static_cast<double>(in[0].bytes() + in[1].bytes());
    return {0, 0, bytes, bytes};
  }
  Keeps keeps() const override { return {.inputs = 2}; }
  void forward(Forward& c) override {
    dispatch_float(c.in(0).dtype(), [&]<class T>() {
      const View<const T> score = c.in(0).view<T>();
      const View<T> y = c.out(0).view<T>();
      each_listed(c.in(1), [&](int64_t r, int64_t j, int64_t e) { y.row(r)[j] = e < 0 ? T(0) : score.row(r)[e]; });
    });
  }
  void backward(Backward& c) override {
    if (!c.wants(0)) return;
    const Sink s = c.sink(0);
    if (!s.accumulate) fill(s.into, 0);
    dispatch_float(c.dtype(), [&]<class T>() {
      const View<const T> g = c.grad(0).view<T>();
      const View<T> d = s.into.view<T>();
      each_listed(c.in(1), [&](int64_t r, int64_t j, int64_t e) {
        if (e >= 0) d.row(r)[e] += g.row(r)[j];
      });
    });
  }
};

class WeightsOfAllOp final : public Op {
 public:
  explicit WeightsOfAllOp(int64_t count) : count_(count) {}
  std::string_view name() const override { return "weights_of_all"; }
  Outputs infer(std::span<const Tensor> in) const override {
    require(in[1].dtype() == DType::i64 && in[1].shape() == in[0].shape() && count_ >= 1,
            "weights_of_all: weights{} of experts{}", in[0].shape().str(), in[1].shape().str());
    return {{in[0].shape().with(-1, count_), in[0].dtype()}};
  }
  Cost cost(std::span<const Tensor> in) const override {
    const double bytes = static_cast<double>(in[0].bytes() + in[1].bytes());
    return {0, 0, bytes, bytes};
  }
  Keeps keeps() const override { return {.inputs = 2}; }
  void forward(Forward& c) override {
    fill(c.out(0), 0);
    dispatch_float(c.in(0).dtype(), [&]<class T>() {
      const View<const T> weight = c.in(0).view<T>();
      const View<T> y = c.out(0).view<T>();
      each_listed(c.in(1), [&](int64_t r, int64_t j, int64_t e) {
        if (e >= 0) y.row(r)[e] += weight.row(r)[j];
      });
    });
  }
  void backward(Backward& c) override {
    const Sink s = c.sink(0);
    if (!s) return;
    dispatch_float(c.dtype(), [&]<class T>() {
      const View<const T> g = c.grad(0).view<T>();
      const View<T> d = s.view<T>();
      each_listed(c.in(1), [&](int64_t r, int64_t j, int64_t e) {
        d.row(r)[j] = (s.accumulate ? d.row(r)[j] : T(0)) + (e >= 0 ? g.row(r)[e] : T(0));
      });
    });
  }

 private:
  int64_t count_;
};

}  // namespace

Tensor experts_within(const Tensor& experts, int64_t from, int64_t to) {
  const Tensor own = Tensor::empty(experts.shape(), DType::i64);
  if (own.is_meta()) return own;
  const View<int64_t> lists = own.view<int64_t>();
  each_listed(experts, [&](int64_t r, int64_t j, int64_t e) { lists.row(r)[j] = e >= from && e < to ? e - from : -1; });
  return own;
}

Tensor weights_of_all(const Tensor& weights, const Tensor& experts, int64_t count) {
  return run(std::make_unique<WeightsOfAllOp>(count), {weights, experts});
}

Tensor choose_experts(const Tensor& score, const Tensor& bias, const Choosing& how, Tensor* margin) {
  auto out = run_many(std::make_unique<ChooseOp>(how, margin != nullptr), {score.untracked(), bias});
  if (margin) *margin = std::move(out[1]);
  return std::move(out[0]);
}

Tensor limit_experts(const Tensor& experts, int64_t count, int64_t capacity, DropOrder order) {
  return run(std::make_unique<LimitOp>(count, capacity, order), {experts});
}

Tensor scores_of(const Tensor& score, const Tensor& experts) {
  return run(std::make_unique<ScoresOfOp>(), {score, experts});
}

std::vector<double> times_chosen(const Tensor& experts, int64_t count) {
  std::vector<double> times(static_cast<size_t>(count));
  if (experts.is_meta()) return times;
  const View<const int64_t> lists = experts.view<int64_t>();
  for (int64_t r = 0; r < lists.rows; ++r)
    for (int64_t j = 0; j < lists.cols; ++j)
      if (const int64_t e = lists.row(r)[j]; e >= 0) ++times[static_cast<size_t>(e)];
  return times;
}

}  // namespace effllm
