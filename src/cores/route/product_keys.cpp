#include "cores/route/product_keys.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <vector>

#include "kernels/gemm.h"
#include "kernels/groups.h"
#include "ops/rows.h"

namespace effllm {
namespace {

class SubKeyScoresOp final : public Op {
 public:
  explicit SubKeyScoresOp(int64_t heads) : heads_(heads) {}
  std::string_view name() const override { return "sub_key_scores"; }
  Outputs infer(std::span<const Tensor> in) const override {
    require(in[1].shape().rank() == 2 && in[1].dim(0) % 2 == 0 && heads_ >= 1 && in[0].shape().rank() == 3 &&
                in[0].cols() == 2 * heads_ * in[1].cols() && in[0].dtype() == in[1].dtype(),
            "sub_key_scores: queries{} of {} heads for sub-keys{}", in[0].shape().str(), heads_, in[1].shape().str());
    return {{in[0].shape().with(2, heads_ * in[1].dim(0)), in[0].dtype()}};
  }
  Cost cost(std::span<const Tensor> in) const override {
    const auto product = static_cast<double>(2 * in[0].numel() * in[1].dim(0) / 2),
               bytes = static_cast<double>(in[0].bytes() + in[1].bytes());
    return {product, 2 * product, bytes, 3 * bytes, product};
  }
  Keeps keeps() const override { return {.inputs = 3}; }
  void forward(Forward& c) override {
    dispatch_float(c.in(0).dtype(), [&]<class T>() {
      const View<const T> x = c.in(0).view<T>(), w = c.in(1).view<T>();
      const View<T> y = c.out(0).view<T>();
      const int64_t n = w.rows / 2;
      for_row_blocks(y.rows, [&](int64_t from, int64_t rows) {
        for (int64_t r = from; r < from + rows; ++r)
          for (int64_t g = 0; g < 2 * heads_; ++g)
            kernel::group_dot<T>({x.row(r) + g * w.cols, n, w.cols, 0}, w.part(g % 2 * n, n),
                                 {y.row(r) + g * n, n, 1, 1}, false);
      });
    });
  }
  void backward(Backward& c) override {
    const Sink d_x = c.sink(0), d_keys = c.sink(1);
    dispatch_float(c.dtype(), [&]<class T>() {
      const View<const T> x = c.in(0).view<T>(), w = c.in(1).view<T>(), dy = c.grad(0).view<T>();
      const int64_t n = w.rows / 2;
      for (int64_t g = 0; g < 2 * heads_; ++g) {
        const View<const T> own = dy.columns(g * n, n);
        const int64_t side = g % 2 * n, column = g * w.cols;
        if (d_x)
          parallel_gemm<T>(own, false, w.part(side, n), false, d_x.view<T>().columns(column, w.cols), d_x.accumulate);
        if (d_keys)
          parallel_gemm<T>(own, true, x.columns(column, w.cols), false, d_keys.view<T>().part(side, n),
                           d_keys.accumulate || g > 1);
      }
    });
  }

 private:
  int64_t heads_;
};

// Of pairs of the a-th best first and the b-th best second, (a + 1)(b + 1) - 1 others are no worse: the best `most`
// pairs are among those with no more of these.
template <class T>
class PairsOfRow {
 public:
  PairsOfRow(const T* first, const T* second, int64_t n, int64_t most) {
    rank(first, n, most, a_);
    rank(second, n, most, b_);
    for (size_t a = 0; a < a_.size(); ++a)
      for (size_t b = 0; b < b_.size() && static_cast<int64_t>((a + 1) * (b + 1)) <= most; ++b)
        pairs.push_back({first[a_[a]] + second[b_[b]], a_[a], b_[b]});
    const auto kept = std::min<int64_t>(most, static_cast<int64_t>(pairs.size()));
    std::partial_sort(pairs.begin(), pairs.begin() + kept, pairs.end(), [](const Pair& p, const Pair& q) {
      return p.score != q.score ? p.score > q.score : p.i != q.i ? p.i < q.i : p.j < q.j;
    });
    pairs.resize(static_cast<size_t>(kept));
  }
  struct Pair {
    T score;
    int64_t i, j;
  };
  std::vector<Pair> pairs;  // best first

 private:
  static void rank(const T* score, int64_t n, int64_t most, std::vector<int64_t>& best) {
    best.resize(static_cast<size_t>(n));
    std::iota(best.begin(), best.end(), int64_t{0});
    const int64_t kept = std::min(most, n);
    std::partial_sort(best.begin(), best.begin() + kept, best.end(),
                      [&](int64_t i, int64_t j) { return score[i] > score[j] || (score[i] == score[j] && i < j); });
    best.resize(static_cast<size_t>(kept));
  }
  std::vector<int64_t> a_, b_;
};

class ChoosePairsOp final : public Op {
 public:
  ChoosePairsOp(int64_t heads, int64_t count) : heads_(heads), count_(count) {}
  std::string_view name() const override { return "choose_pairs"; }
  Outputs infer(std::span<const Tensor> in) const override {
    const Shape& s = in[0].shape();
    require(s.rank() == 3 && is_float(in[0].dtype()) && heads_ >= 1 && s[2] % (2 * heads_) == 0,
            "choose_pairs: scores{} of {} heads", s.str(), heads_);
    const int64_t n = s[2] / (2 * heads_);
    require(count_ >= 1 && count_ <= n * n, "choose_pairs: {} pairs of {} and {}", count_, n, n);
    const TensorSpec lists{s.with(2, heads_ * count_), DType::i64};
    return {lists, lists, lists, {s.with(2, heads_), in[0].dtype()}};
  }
  Cost cost(std::span<const Tensor> in) const override {
    return {4 * static_cast<double>(in[0].numel()), 0, static_cast<double>(in[0].bytes()), 0};
  }
  void forward(Forward& c) override {
    dispatch_float(c.in(0).dtype(), [&]<class T>() {
      const View<const T> scores = c.in(0).view<T>();
      const View<int64_t> pairs = c.out(0).view<int64_t>(), first = c.out(1).view<int64_t>(),
                          second = c.out(2).view<int64_t>();
      const int64_t n = scores.cols / (2 * heads_);
      for_row_blocks(scores.rows, [&](int64_t from, int64_t rows) {
        for (int64_t r = from; r < from + rows; ++r)
          for (int64_t h = 0; h < heads_; ++h) {
            const int64_t own = h * 2 * n;
            const PairsOfRow<T> row(scores.row(r) + own, scores.row(r) + own + n, n, count_ + 1);
            for (int64_t k = 0; k < count_; ++k) {
              const auto& [score, i, j] = row.pairs[static_cast<size_t>(k)];
              pairs.row(r)[h * count_ + k] = i * n + j;
              first.row(r)[h * count_ + k] = own + i;
              second.row(r)[h * count_ + k] = own + n + j;
            }
            const auto at = [&](int64_t k) { return row.pairs[static_cast<size_t>(k)].score; };
            c.out(3).view<T>().row(r)[h] =
                count_ < n * n ? at(count_ - 1) - at(count_) : std::numeric_limits<T>::infinity();
          }
      });
    });
  }
  void backward(Backward&) override {}

 private:
  int64_t heads_, count_;
};

}  // namespace

Tensor sub_key_scores(const Tensor& queries, const Tensor& keys, int64_t heads) {
  return run(std::make_unique<SubKeyScoresOp>(heads), {queries, keys});
}

ChosenPairs choose_pairs(const Tensor& scores, int64_t heads, int64_t count) {
  auto out = run_many(std::make_unique<ChoosePairsOp>(heads, count), {scores.untracked()});
  return {std::move(out[0]), std::move(out[1]), std::move(out[2]), std::move(out[3])};
}

}  // namespace effllm
