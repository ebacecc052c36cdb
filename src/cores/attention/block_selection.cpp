#include "cores/attention/block_selection.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "autodiff/float_op.h"
#include "cores/common/segments.h"
#include "kernels/groups.h"
#include "kernels/parallel.h"
#include "kernels/pointwise.h"

namespace effllm {
namespace {

// f(b, first key) for every complete block of every document.
template <class F>
void for_blocks(const Shape& k, int64_t block, int64_t tokens, const Tensor& q_offset, const Tensor& segments, F&& f) {
  const DocumentStarts starts(segments);
  for (int64_t b = 0; b < k[0]; ++b) {
    const int64_t at = q_offset.defined() ? q_offset.data<int64_t>()[b] : k[1] - tokens;
    require(at >= 0 && at + tokens <= k[1], "block_means: {} tokens from key {} on don't fit {} keys", tokens, at,
            k[1]);
    int64_t first = 0;
    const auto document = [&](int64_t end) {
      for (; first + block <= end; first += block) f(b, first);
    };
    for (int64_t t = 0; t < tokens;) {
      const uint8_t* s = starts.row(b);
      if (s && s[t]) first = at + t;
      const int64_t end = document_end(s, t, tokens);
      document(at + end);
      t = end;
    }
  }
}

class BlockMeansOp final : public Op {
 public:
  BlockMeansOp(int64_t block, int64_t tokens) : block_(block), tokens_(tokens) {}
  std::string_view name() const override { return "block_means"; }
  Outputs infer(std::span<const Tensor> in) const override {
    const Shape& k = in[0].shape();
    require(k.rank() == 3 && is_float(in[0].dtype()) && block_ >= 1 && tokens_ >= 1 && tokens_ <= k[1],
            "block_means: blocks of {} of k{}, {} tokens", block_, k.str(), tokens_);
    require(!in[1].defined() || (in[1].dtype() == DType::i64 && in[1].shape() == Shape{k[0]}),
            "block_means: q_offset{} for {} sequences", in[1].shape().str(), k[0]);
    require_segments(name(), in[2], k[0], tokens_);
    return {{k.with(1, (k[1] + block_ - 1) / block_), in[0].dtype()}};
  }
  Cost cost(std::span<const Tensor> in) const override { return per_number(in[0], {1, 1, 1, 1}); }
  Keeps keeps() const override { return {.inputs = 6}; }
  void forward(Forward& c) override {
    fill(c.out(0), 0);
    for_blocks(c.in(0).shape(), block_, tokens_, c.in(1), c.in(2),
               [&](int64_t b, int64_t first) { block_mean(c.in(0), b, first, block_, c.out(0), first / block_); });
  }
  void backward(Backward& c) override {
    const Tensor dk = c.sum(0);
    if (!dk.defined()) return;
    const Shape &k = c.in_shape(0), &means = c.out_shape(0);
    dispatch_float(c.dtype(), [&]<class T>() {
      for_blocks(k, block_, tokens_, c.in(1), c.in(2), [&](int64_t b, int64_t first) {
        const T* g = c.grad(0).view<T>().row(b * means[1] + first / block_);
        const View<const T> same{g, block_, k[2], 0};
        kernel::scale<T>(T(1) / static_cast<T>(block_), same, dk.view<T>().part(b * k[1] + first, block_), true);
      });
    });
  }

 private:
  int64_t block_, tokens_;
};

class NearestBlocksOp final : public Op {
 public:
  NearestBlocksOp(int64_t heads, int64_t block, int64_t top_k, bool margin)
      : heads_(heads), block_(block), top_k_(top_k), margin_(margin) {}
  std::string_view name() const override { return "nearest_blocks"; }
  Outputs infer(std::span<const Tensor> in) const override {
    const Shape &q = in[0].shape(), &m = in[1].shape();
    require(q.rank() == 3 && m.rank() == 3 && m[0] == q[0] && m[2] == q[2] && heads_ >= 1 && q[2] % heads_ == 0 &&
                block_ >= 1 && top_k_ >= 1 && is_float(in[0].dtype()) && in[1].dtype() == in[0].dtype(),
            "nearest_blocks: q{} and means{} with {} heads, blocks of {}, {} of them", q.str(), m.str(), heads_, block_,
            top_k_);
    require(in[2].dtype() == DType::i64 && in[2].shape() == Shape{q[0]}, "nearest_blocks: q_offset{} for q{}",
            in[2].shape().str(), q.str());
    require_segments(name(), in[3], q[0], q[1]);
    const TensorSpec lists{{q[0], q[1], heads_ * top_k_}, DType::i64};
    if (margin_) return {lists, {{q[0], q[1], heads_}, in[0].dtype()}};
    return {lists};
  }
  // Of one document; where there are more means than the call's tokens fill, all others come before it.
  Cost cost(std::span<const Tensor> in) const override {
    const int64_t t = in[0].dim(1), before = std::max<int64_t>(0, in[1].dim(1) * block_ - t) / block_ * block_;
    double products = 0;
    for (int64_t i = 0; i < t; ++i) products += static_cast<double>((before + i) / block_);
    products *= 2 * static_cast<double>(in[0].dim(0) * in[0].cols());
    const auto bytes = static_cast<double>(in[0].bytes() + in[1].bytes());
    return {products, 0, bytes, 0};
  }
  void forward(Forward& c) override {
    const Tensor &q = c.in(0), &means = c.in(1);
    const int64_t tokens = q.dim(1), slots = means.dim(1), width = q.cols() / heads_;
    const DocumentStarts starts(c.in(3));
    dispatch_float(q.dtype(), [&]<class T>() {
      parallel_for(q.dim(0) * heads_, 1, [&](int64_t item, int64_t) {
        const int64_t b = item / heads_, h = item % heads_, at = c.in(2).data<int64_t>()[b];
        const View<const T> rows = means.view<T>().part(b * slots, slots).columns(h * width, width);
        std::vector<T> score(static_cast<size_t>(slots));
        int64_t first = 0;
        for (int64_t t = 0; t < tokens; ++t) {
          if (const uint8_t* s = starts.row(b); s && s[t]) first = at + t;
          const int64_t own = (at + t - first) / block_;
          require(first / block_ + own <= slots, "nearest_blocks: means of {} blocks, token {} has {} before it", slots,
                  t, own);
          int64_t* list = c.out(0).view<int64_t>().row(b * tokens + t) + h * top_k_;
          const View<const T> query{q.view<T>().row(b * tokens + t) + h * width, own, width, 0};
          int64_t n = own;
          T margin = std::numeric_limits<T>::infinity();
          if (own >= top_k_) {  // otherwise all of them
            kernel::group_dot<T>(query, rows.part(first / block_, own), {score.data(), own, 1, 1}, false);
            n = largest(score.data(), own, top_k_ - 1, list);
            margin = margin_of(score.data(), own, list, n);
          } else {
            for (int64_t i = 0; i < own; ++i) list[i] = i;
          }
          list[n++] = own;
          std::fill(list + n, list + top_k_, int64_t{-1});
          if (margin_) c.out(1).view<T>().row(b * tokens + t)[h] = margin;
        }
      });
    });
  }
  void backward(Backward&) override {}

 private:
  int64_t heads_, block_, top_k_;
  bool margin_;
};

}  // namespace

void block_mean(const Tensor& k, int64_t b, int64_t first, int64_t block, const Tensor& means, int64_t to) {
  dispatch_float(k.dtype(), [&]<class T>() {
    T* mean = means.view<T>().row(b * means.dim(1) + to);
    kernel::column_sum<T>(k.view<T>().part(b * k.dim(1) + first, block), mean, false);
    for (int64_t c = 0; c < k.cols(); ++c) mean[c] /= static_cast<T>(block);
  });
}

Tensor block_means(const Tensor& k, int64_t block, int64_t tokens, const Tensor& q_offset, const Tensor& segments) {
  return run(std::make_unique<BlockMeansOp>(block, tokens), {k, q_offset, segments});
}

Tensor nearest_blocks(const Tensor& q, const Tensor& means, int64_t heads, int64_t block, int64_t top_k,
                      const Tensor& q_offset, const Tensor& segments, Tensor* margin) {
  auto out = run_many(std::make_unique<NearestBlocksOp>(heads, block, top_k, margin != nullptr),
                      {q.untracked(), means.untracked(), q_offset, segments});
  if (margin) *margin = std::move(out[1]);
  return std::move(out[0]);
}

template <class T>
int64_t largest(const T* score, int64_t n, int64_t k, int64_t* index) {
  int64_t count = 0;  // index[0, count): the best so far, best first
  for (int64_t i = 0; i < n; ++i) {
    if (k == 0 || (count == k && !(score[i] > score[index[count - 1]]))) continue;
    int64_t at = count < k ? count++ : k - 1;
    for (; at > 0 && score[i] > score[index[at - 1]]; --at) index[at] = index[at - 1];
    index[at] = i;
  }
  std::sort(index, index + count);
  return count;
}
template int64_t largest(const float*, int64_t, int64_t, int64_t*);
template int64_t largest(const double*, int64_t, int64_t, int64_t*);

template <class T>
T margin_of(const T* score, int64_t n, const int64_t* index, int64_t count) {
  T least = std::numeric_limits<T>::infinity(), most = -least;
  for (int64_t i = 0, next = 0; i < n; ++i) {
    const bool chosen = next < count && index[next] == i;
    next += chosen;
    chosen ? least = std::min(least, score[i]) : most = std::max(most, score[i]);
  }
  return least - most;
}
template float margin_of(const float*, int64_t, const int64_t*, int64_t);
template double margin_of(const double*, int64_t, const int64_t*, int64_t);

}  // namespace effllm
