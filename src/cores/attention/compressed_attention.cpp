#include "cores/attention/compressed_attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "cores/attention/attention.h"
#include "cores/attention/block_selection.h"
#include "cores/common/heads.h"
#include "kernels/attention.h"
#include "kernels/groups.h"
#include "kernels/parallel.h"
#include "kernels/pointwise.h"

namespace effllm {
namespace {

enum Input { kQ, kK, kV, kFirst, kLast, kPosition };

constexpr int64_t kStrip = 32;

void require_ranges(std::string_view op, const Tensor& q, const Tensor& k, std::span<const Tensor> ranges,
                    const CompressedOptions& o) {
  require(o.heads >= 1 && o.kv_heads >= 1 && o.heads % o.kv_heads == 0 && q.shape().rank() == 3 &&
              is_float(q.dtype()) && q.cols() % o.heads == 0 && k.shape().rank() == 3 && k.dtype() == q.dtype() &&
              k.dim(0) == q.dim(0) && k.dim(1) % o.kv_heads == 0 && k.dim(1) > 0 && k.cols() == q.cols() / o.heads,
          "{}: q{} and k{} don't fit {} heads and {} key-value heads", op, q.shape().str(), k.shape().str(), o.heads,
          o.kv_heads);
  for (const Tensor& r : ranges)
    require(r.dtype() == DType::i64 && r.shape() == Shape{q.dim(0), q.dim(1)} && r.is_dense(), "{}: ranges{} for q{}",
            op, r.shape().str(), q.shape().str());
}

// Pairs of a query and a summary of one document whose last T tokens are the queries, where N summaries are all there.
double visible_pairs(const Tensor& q, int64_t summaries, const CompressedOptions& o) {
  const int64_t t = q.dim(1), end = std::max(t, (summaries - 1) * o.stride + o.length);
  double pairs = 0;
  for (int64_t p = end - t; p < end; ++p)
    if (p + 1 >= o.length) pairs += static_cast<double>((p + 1 - o.length) / o.stride + 1);
  return pairs * static_cast<double>(q.dim(0) * o.heads);
}

// The rows of one key-value head, summary by summary.
template <class T>
View<T> rows_of(const Tensor& x, int64_t b, int64_t g, int64_t groups) {
  if (!x.defined()) return {};
  const View<T> v = x.view<T>();
  return {v.row(b * x.dim(1) + g), x.dim(1) / groups, v.cols, v.stride * groups};
}

class CompressedAttentionOp final : public FloatOp<CompressedAttentionOp> {
 public:
  explicit CompressedAttentionOp(const CompressedOptions& o) : o_(o) {}
  std::string_view name() const override { return "compressed_attention"; }
  Outputs infer(std::span<const Tensor> in) const override {
    const Tensor &q = in[kQ], &v = in[kV];
    require_ranges(name(), q, in[kK], in.subspan(kFirst, 2), o_);
    require(v.shape().rank() == 3 && v.dtype() == q.dtype() && v.dim(0) == q.dim(0) && v.dim(1) == in[kK].dim(1),
            "compressed_attention: v{} for k{}", v.shape().str(), in[kK].shape().str());
    const int64_t b = q.dim(0), t = q.dim(1);
    return {{{{b, t, o_.heads * v.cols()}, q.dtype()}, {{b * o_.heads, t}, q.dtype()}}, 1};
  }
  Cost cost(std::span<const Tensor> in) const override {
    const auto width = static_cast<double>(in[kK].cols() + in[kV].cols()), dk = static_cast<double>(in[kK].cols()),
               size = bytes_of_number(in[kQ]);
    const double pairs = visible_pairs(in[kQ], in[kK].dim(1) / o_.kv_heads, o_);
    const double product = 2 * width * pairs;
    const double bytes = size * static_cast<double>(2 * in[kQ].numel() + in[kK].numel() + in[kV].numel());
    return {product, 2 * product + 2 * dk * pairs, bytes, 2 * bytes, product};
  }
  Keeps keeps() const override { return {0b11111, 0b11}; }

  Scratch scratch(std::span<const TensorSpec> in) const override {
    const Shape &q = in[kQ].shape, &k = in[kK].shape;
    const int64_t n =
        at_once(q[0] * o_.heads) *
        kernel::attention_scratch<float>(q[1], few_sizes(k[1] / o_.kv_heads, 64), k[2], in[kV].shape[2], strip());
    return scratch_of(n, n, in[kQ].dtype);
  }

  template <class T>
  void forward_in(Forward& c) {
    for_each_with_memory<T>(c.in(kQ).dim(0) * o_.heads, scratch_size<T>(c), [&](int64_t item, T* scratch) {
      AttentionArgs<T> a = args<T>(c, item / o_.heads, item % o_.heads, scratch);
      a.o = head<T>(c.out(0), item / o_.heads, item % o_.heads);
      a.lse = c.recording() ? c.out(1).view<T>().row(item) : nullptr;
      kernel::attention<T>(a);
    });
  }

  template <class T>
  void backward_in(Backward& c) {
    const Sink dq = c.sink(kQ), dk = c.sink(kK), dv = c.sink(kV);
    const int64_t groups = o_.kv_heads, group = o_.heads / groups;
    for_each_with_memory<T>(c.in(kQ).dim(0) * groups, scratch_size<T>(c), [&](int64_t item, T* scratch) {
      const int64_t b = item / groups, kv = item % groups;
      for (int64_t h = kv * group; h < (kv + 1) * group; ++h) {  // the heads of a group add up in this order
        AttentionArgs<T> a = args<T>(c, b, h, scratch);
        a.o = head<T>(c.out(0), b, h);
        a.lse = c.out(1).view<T>().row(b * o_.heads + h);
        AttentionBackwardArgs<T> g;
        g.d_o = head<T>(c.grad(0), b, h);
        const bool later = h > kv * group;
        if (c.wants(kQ)) g.dq = head<T>(dq.into, b, h), g.add_q = dq.accumulate;
        if (c.wants(kK)) g.dk = rows_of<T>(dk.into, b, kv, groups), g.add_k = later || dk.accumulate;
        if (c.wants(kV)) g.dv = rows_of<T>(dv.into, b, kv, groups), g.add_v = later || dv.accumulate;
        kernel::attention_backward<T>(a, g);
      }
    });
  }

 private:
  template <class T>
  View<T> head(const Tensor& x, int64_t b, int64_t h) const {
    const int64_t width = x.cols() / o_.heads;
    return x.view<T>().part(b * x.dim(1), x.dim(1)).columns(h * width, width);
  }
  template <class T, class Pass>
  AttentionArgs<T> args(const Pass& c, int64_t b, int64_t h, T* scratch) const {
    const int64_t kv = h * o_.kv_heads / o_.heads, tokens = c.in(kQ).dim(1);
    AttentionArgs<T> a;
    a.q = head<T>(c.in(kQ), b, h);
    a.k = rows_of<T>(c.in(kK), b, kv, o_.kv_heads);
    a.v = rows_of<T>(c.in(kV), b, kv, o_.kv_heads);
    a.scale = 1 / std::sqrt(static_cast<double>(a.q.cols));
    a.causal = false;
    a.first = c.in(kFirst).template data<int64_t>() + b * tokens;
    a.last = c.in(kLast).template data<int64_t>() + b * tokens;
    a.strip = strip();
    a.scratch = scratch;
    return a;
  }
  int64_t strip() const { return o_.chunk > 0 ? o_.chunk : kStrip; }

  template <class T, class Pass>
  int64_t scratch_size(const Pass& c) const {
    const int64_t keys = few_sizes(c.in(kK).dim(1) / o_.kv_heads, 64);
    return kernel::attention_scratch<T>(c.in(kQ).dim(1), keys, c.in(kK).cols(), c.in(kV).cols(), strip());
  }

  CompressedOptions o_;
};

class ImportantBlocksOp final : public Op {
 public:
  ImportantBlocksOp(const CompressedOptions& o, bool margin) : o_(o), margin_(margin) {}
  std::string_view name() const override { return "important_blocks"; }
  Outputs infer(std::span<const Tensor> in) const override {
    require_ranges(name(), in[0], in[1], in.subspan(2, 3), o_);
    require(o_.stride >= 1 && o_.length >= 1 && o_.length % o_.stride == 0 && o_.block >= 1 &&
                o_.block % o_.stride == 0 && o_.select >= 3,
            "important_blocks: {} blocks of {} by summaries of {} every {}", o_.select, o_.block, o_.length, o_.stride);
    const Shape lists{in[0].dim(0), in[0].dim(1), o_.kv_heads * o_.select};
    if (margin_) return {{lists, DType::i64}, {lists.with(-1, o_.kv_heads), in[0].dtype()}};
    return {{lists, DType::i64}};
  }
  // A product and an exponential for each pair.
  Cost cost(std::span<const Tensor> in) const override {
    const double pairs = visible_pairs(in[0], in[1].dim(1) / o_.kv_heads, o_);
    return {(2 * static_cast<double>(in[1].cols()) + 10) * pairs, 0, static_cast<double>(in[0].bytes() + in[1].bytes()),
            0};
  }

  void forward(Forward& c) override {
    const Tensor &q = c.in(0), &k = c.in(1);
    const int64_t tokens = q.dim(1), groups = o_.kv_heads;
    dispatch_float(q.dtype(), [&]<class T>() {
      parallel_for(q.dim(0) * groups, 1, [&](int64_t item, int64_t) {
        const int64_t b = item / groups, g = item % groups;
        const View<const T> keys = rows_of<T>(k, b, g, groups);
        Room<T> room(keys.rows, tokens / o_.block + keys.rows);
        for (int64_t t = 0; t < tokens; ++t) {
          const int64_t row = b * tokens + t, first = c.in(2).data<int64_t>()[row], last = c.in(3).data<int64_t>()[row],
                        own = c.in(4).data<int64_t>()[row] / o_.block;
          int64_t* list = c.out(0).view<int64_t>().row(row) + g * o_.select;
          std::fill(list, list + o_.select, int64_t{-1});
          if (margin_) c.out(1).view<T>().row(row)[g] = std::numeric_limits<T>::infinity();
          if (own < o_.select) {  // all of them
            for (int64_t j = 0; j <= own; ++j) list[j] = j;
            continue;
          }
          weigh(q, row, g, keys.part(first, last - first), room);
          rate(last - first, own, room);
          const int64_t n = largest(room.rating.data(), own - 2, o_.select - 3, list + 1);
          if (margin_) c.out(1).view<T>().row(row)[g] = margin_of(room.rating.data(), own - 2, list + 1, n);
          list[0] = 0;
          for (int64_t i = 1; i <= n; ++i) ++list[i];  // counted from block 1
          list[n + 1] = own - 1;
          list[n + 2] = own;
        }
      });
    });
  }
  void backward(Backward&) override {}

 private:
  template <class T>
  struct Room {
    std::vector<T> score, weight, rating;
    Room(int64_t summaries, int64_t blocks)
        : score(static_cast<size_t>(summaries)),
          weight(static_cast<size_t>(summaries)),
          rating(static_cast<size_t>(blocks)) {}
  };

  // weight = the probabilities of each summary, summed over the heads of a group.
  template <class T>
  void weigh(const Tensor& q, int64_t row, int64_t g, View<const T> keys, Room<T>& room) const {
    const int64_t group = o_.heads / o_.kv_heads, n = keys.rows;
    const T scale = T(1) / static_cast<T>(std::sqrt(static_cast<double>(keys.cols)));
    std::fill_n(room.weight.begin(), n, T(0));
    for (int64_t h = g * group; h < (g + 1) * group && n > 0; ++h) {
      const View<const T> query{q.view<T>().row(row) + h * keys.cols, n, keys.cols, 0};
      T* const s = room.score.data();
      kernel::group_dot<T>(query, keys, {s, n, 1, 1}, false);
      const T most = *std::max_element(s, s + n);
      for (int64_t i = 0; i < n; ++i) s[i] = scale * (s[i] - most);
      kernel::pointwise<T>(Pointwise::exp, {s, 1, n, n}, {s, 1, n, n});
      T sum = 0;
      for (int64_t i = 0; i < n; ++i) sum += s[i];
      for (int64_t i = 0; i < n; ++i) room.weight[static_cast<size_t>(i)] += s[i] / sum;
    }
  }
  // rating[j - 1] of block j, for the blocks between the first and the one before the token's own.
  template <class T>
  void rate(int64_t n, int64_t own, Room<T>& room) const {
    const int64_t pieces = o_.block / o_.stride, reach = o_.length / o_.stride;  // of a block, of a summary
    if (static_cast<int64_t>(room.rating.size()) < own) room.rating.resize(static_cast<size_t>(own));
    for (int64_t j = 1; j + 1 < own; ++j) {
      T sum = 0;
      const int64_t to = std::min(pieces, n - pieces * j);
      for (int64_t o = std::max(1 - reach, -pieces * j); o < to; ++o) {  // a summary that starts o pieces after it
        const int64_t shared = std::min(o + reach, pieces) - std::max<int64_t>(o, 0);
        sum += static_cast<T>(shared) * room.weight[static_cast<size_t>(pieces * j + o)];
      }
      room.rating[static_cast<size_t>(j - 1)] = sum;
    }
  }

  CompressedOptions o_;
  bool margin_;
};

}  // namespace

Tensor compressed_attention(const Tensor& q, const Tensor& k, const Tensor& v, const SummaryRanges& r,
                            const CompressedOptions& options) {
  return run(std::make_unique<CompressedAttentionOp>(options), {q, k, v, r.first, r.last});
}

Tensor important_blocks(const Tensor& q, const Tensor& k, const SummaryRanges& r, const CompressedOptions& options,
                        Tensor* margin) {
  auto out = run_many(std::make_unique<ImportantBlocksOp>(options, margin != nullptr),
                      {q.untracked(), k.untracked(), r.first, r.last, r.position});
  if (margin) *margin = std::move(out[1]);
  return std::move(out[0]);
}

}  // namespace effllm
