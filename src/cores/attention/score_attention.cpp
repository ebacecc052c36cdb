#include "cores/attention/score_attention.h"

#include <algorithm>

#include "autodiff/float_op.h"
#include "cores/attention/token_groups.h"
#include "cores/common/head_product.h"
#include "cores/common/segments.h"
#include "kernels/parallel.h"
#include "kernels/pointwise.h"

namespace effllm {
namespace {

enum Input { kQ, kK, kV, kCacheK, kCacheV, kBefore, kBias, kSegments };

constexpr int64_t kStrip = 64;  // query rows at a time

// A strip of queries of one group against its keys up to the last of them: those of the cache, then those of the call.
template <class T>
struct Strip {
  View<const T> q, cache_k, cache_v, k, v;
  int64_t first, count;  // place of the first query in its group; queries
  int64_t keys() const { return first + count; }
};

class ScoreAttentionOp final : public FloatOp<ScoreAttentionOp> {
 public:
  explicit ScoreAttentionOp(const ScoreAttentionOptions& o) : o_(o) {}
  std::string_view name() const override { return "score_attention"; }

  Outputs infer(std::span<const Tensor> in) const override {
    const Tensor &q = in[kQ], &k = in[kK], &v = in[kV], &bias = in[kBias];
    require(o_.heads >= 1 && o_.group >= 1 && o_.chunk >= 0, "score_attention: {} heads, groups of {}, chunk {}",
            o_.heads, o_.group, o_.chunk);
    require(q.shape().rank() == 3 && q.dim(1) >= 1 && k.shape() == q.shape() && v.shape().rank() == 3 &&
                v.dim(0) == q.dim(0) && v.dim(1) == q.dim(1) && q.cols() % o_.heads == 0 && v.cols() % o_.heads == 0 &&
                q.cols() > 0 && v.cols() > 0 && is_float(q.dtype()) && k.dtype() == q.dtype() && v.dtype() == q.dtype(),
            "score_attention: q{}, k{}, v{} are not [B, T, H*dk] twice and [B, T, H*dv] with H = {}", q.shape().str(),
            k.shape().str(), v.shape().str(), o_.heads);
    require_cache(name(), k, in[kCacheK], in[kBefore], o_.group);
    require_cache(name(), v, in[kCacheV], in[kBefore], o_.group);
    require(!bias.defined() || (bias.shape().rank() == 1 && bias.dtype() == q.dtype()), "score_attention: bias{}",
            bias.shape().str());
    require(!bias.defined() || !o_.bias_at.empty() || bias.numel() >= o_.group,
            "score_attention: no bias for every distance below {}", o_.group);
    for (int32_t at : o_.bias_at)
      require(!bias.defined() || (at >= 0 && at < bias.numel()), "score_attention: entry {} of bias{}", at,
              bias.shape().str());
    require_segments(name(), in[kSegments], q.dim(0), q.dim(1));
    return {{v.shape(), v.dtype()}};
  }

  // Of one document that starts with the call; with a cache, of tokens that see half a group.
  Cost cost(std::span<const Tensor> in) const override {
    const Tensor &q = in[kQ], &v = in[kV];
    const int64_t t = q.dim(1), whole = t / o_.group, rest = t % o_.group;
    const double exact = static_cast<double>(whole * (o_.group * (o_.group + 1) / 2) + rest * (rest + 1) / 2);
    const double half = static_cast<double>(t) * static_cast<double>(o_.group + 1) / 2;
    const double pairs = static_cast<double>(q.dim(0)) * (in[kCacheK].defined() ? half : exact);
    const double dk = static_cast<double>(q.cols()), dv = static_cast<double>(v.cols());
    const double product = 2 * pairs * (dk + dv), scores = 8 * pairs * static_cast<double>(o_.heads);
    const double bytes = static_cast<double>(size_of(q.dtype())) * static_cast<double>(q.rows()) * (2 * dk + 2 * dv);
    return {product + scores, 2 * product + 2 * pairs * dk + 2 * scores, bytes, 2 * bytes, product};
  }
  Keeps keeps() const override { return {.inputs = 0xff}; }

  // A strip of scores of each thread; backwards three, and the gradient of the bias by distance.
  Scratch scratch(std::span<const TensorSpec> in) const override {
    const Shape &q = in[kQ].shape, &cache = in[kCacheK].shape;
    const int64_t items = q[0] * o_.heads;
    const int64_t far = std::min(o_.group, q[1] + (cache.rank() == 3 ? cache[1] : 0));
    const int64_t strips = at_once(items) * std::min({o_.group, q[1], o_.chunk > 0 ? o_.chunk : kStrip}) * far;
    return scratch_of(strips, 3 * strips + items * far, in[kQ].dtype);
  }

  template <class T>
  void forward_in(Forward& c) {
    const Table<T> table(*this, c.in(kBias), reach(c));
    for_items<T>(c, 1, [&](int64_t b, int64_t h, const std::vector<GroupPiece>& pieces, T* memory) {
      const View<T> o = columns_of_head<T>(c.out(0), b, h, o_.heads);
      for_strips<T>(c, b, h, pieces, [&](const Strip<T>& s, int64_t row, int64_t) {
        const View<T> scores{memory, s.count, s.keys(), reach(c)};
        raw_scores<T>(s, table, scores);
        activate<T>(s, scores, scores);
        weigh<T>(s, scores, o.part(row, s.count));
      });
    });
  }

  template <class T>
  void backward_in(Backward& c) {
    const Sink to_q = c.sink(kQ);
    const Tensor sums[] = {c.sum(kK), c.sum(kV), c.sum(kCacheK), c.sum(kCacheV)};
    const Tensor d_bias = c.sum(kBias);
    const Table<T> table(*this, c.in(kBias), reach(c));
    const int64_t items = c.in(kQ).dim(0) * o_.heads;
    const int64_t far = reach(c);
    Tensor by_distance;  // of each item, newest last: entry far - 1 - distance
    if (d_bias.defined()) by_distance = Tensor::zeros({items, far}, dtype_of<T>);
    for_items<T>(c, 3, [&](int64_t b, int64_t h, const std::vector<GroupPiece>& pieces, T* memory) {
      const auto view = [&](const Tensor& x) { return columns_of_head<T>(x, b, h, o_.heads); };
      const View<T> dq = view(to_q.into), dk = view(sums[0]), dv = view(sums[1]), d_cache_k = view(sums[2]),
                    d_cache_v = view(sums[3]);
      const View<const T> g = view(c.grad(0));
      T* const bias = by_distance.defined() ? by_distance.view<T>().row(b * o_.heads + h) : nullptr;
      const int64_t wide = far, size = strip(c) * wide;
      for_strips<T>(c, b, h, pieces, [&](const Strip<T>& s, int64_t row, int64_t from) {
        const View<T> raw{memory, s.count, s.keys(), wide}, a{memory + size, s.count, s.keys(), wide},
            d{memory + 2 * size, s.count, s.keys(), wide};
        const View<const T> go = g.part(row, s.count);
        const int64_t cached = s.cache_k.rows, own = s.k.rows;
        raw_scores<T>(s, table, raw);
        activate<T>(s, raw, a);
        product<T>(go, false, s.cache_v, true, d.columns(0, cached), false);
        product<T>(go, false, s.v, true, d.columns(cached, own), false);
        for (int64_t r = 0; r < s.count; ++r) {
          const int64_t seen = s.first + r + 1;
          const View<T> dr{d.row(r), 1, seen, d.stride};
          kernel::pointwise_backward<T>(o_.score, {raw.row(r), 1, seen, raw.stride}, dr, dr, false);
          std::fill(d.row(r) + seen, d.row(r) + s.keys(), T(0));
          if (bias) {
            const View<T> to{bias + far - seen, 1, seen, seen};
            kernel::sum<T>(to, dr, to);
          }
        }
        if (dv) product<T>(a.columns(cached, own), true, go, false, dv.part(from, own), true);
        if (d_cache_v) product<T>(a.columns(0, cached), true, go, false, d_cache_v.part(0, cached), true);
        if (dk) product<T>(d.columns(cached, own), true, s.q, false, dk.part(from, own), true);
        if (d_cache_k) product<T>(d.columns(0, cached), true, s.q, false, d_cache_k.part(0, cached), true);
        if (!dq) return;
        product<T>(d.columns(cached, own), false, s.k, false, dq.part(row, s.count), to_q.accumulate);
        product<T>(d.columns(0, cached), false, s.cache_k, false, dq.part(row, s.count), true);
      });
    });
    if (!d_bias.defined()) return;
    T* const db = d_bias.data<T>();
    for (int64_t i = 0; i < items; ++i)
      for (int64_t distance = 0; distance < far; ++distance)
        db[entry(distance)] += static_cast<T>(o_.bias_scale) * by_distance.view<T>().row(i)[far - 1 - distance];
  }

 private:
  int64_t entry(int64_t distance) const {
    return o_.bias_at.empty() ? distance : o_.bias_at[std::min(static_cast<size_t>(distance), o_.bias_at.size() - 1)];
  }
  // Rows and columns that a strip of scores may need.
  template <class Pass>
  int64_t strip(const Pass& c) const {
    return std::min({o_.group, c.in(kQ).dim(1), o_.chunk > 0 ? o_.chunk : kStrip});
  }
  // Keys that a query may see: a group, as far as the cache and the call hold one.
  template <class Pass>
  int64_t reach(const Pass& c) const {
    return std::min(o_.group, c.in(kQ).dim(1) + (c.in(kCacheK).defined() ? c.in(kCacheK).dim(1) : 0));
  }

  // The bias of every distance, far ones first, so that a row of scores adds a run of it.
  template <class T>
  struct Table {
    std::vector<T> far_first;
    Table(const ScoreAttentionOp& op, const Tensor& bias, int64_t reach) {
      if (!bias.defined()) return;
      far_first.resize(static_cast<size_t>(reach));
      for (int64_t distance = 0; distance < reach; ++distance)
        far_first[static_cast<size_t>(reach - 1 - distance)] =
            static_cast<T>(op.o_.bias_scale) * bias.data<T>()[op.entry(distance)];
    }
  };

  // q.k + bias; what a query may not see holds anything.
  template <class T>
  void raw_scores(const Strip<T>& s, const Table<T>& table, View<T> to) const {
    const bool biased = !table.far_first.empty();
    for (int64_t r = 0; biased && r < s.count; ++r) {
      const int64_t seen = s.first + r + 1;
      std::copy_n(table.far_first.data() + static_cast<int64_t>(table.far_first.size()) - seen, seen, to.row(r));
      std::fill(to.row(r) + seen, to.row(r) + s.keys(), T(0));
    }
    product<T>(s.q, false, s.cache_k, true, to.columns(0, s.cache_k.rows), biased);
    product<T>(s.q, false, s.k, true, to.columns(s.cache_k.rows, s.k.rows), biased);
  }
  template <class T>
  void activate(const Strip<T>& s, View<const T> raw, View<T> to) const {
    for (int64_t r = 0; r < s.count; ++r) {
      const int64_t seen = s.first + r + 1;
      kernel::pointwise<T>(o_.score, {raw.row(r), 1, seen, raw.stride}, {to.row(r), 1, seen, to.stride});
      std::fill(to.row(r) + seen, to.row(r) + s.keys(), T(0));
    }
  }
  template <class T>
  void weigh(const Strip<T>& s, View<const T> scores, View<T> o) const {
    product<T>(scores.columns(s.cache_v.rows, s.v.rows), false, s.v, false, o, false);
    product<T>(scores.columns(0, s.cache_v.rows), false, s.cache_v, false, o, true);
  }

  // f(b, h, groups, memory of `buffers` strips of scores) for every head of every sequence.
  template <class T, class Pass, class F>
  void for_items(const Pass& c, int64_t buffers, F&& f) const {
    const DocumentStarts starts(c.in(kSegments));
    for_each_with_memory<T>(c.in(kQ).dim(0) * o_.heads, buffers * strip(c) * reach(c), [&](int64_t i, T* memory) {
      const int64_t b = i / o_.heads;
      f(b, i % o_.heads, group_pieces(starts.row(b), c.in(kQ).dim(1), o_.group, before_of(c.in(kBefore), b)), memory);
    });
  }

  // f(strip, its first token, its group's first token in the call) in order.
  template <class T, class Pass, class F>
  void for_strips(const Pass& c, int64_t b, int64_t h, const std::vector<GroupPiece>& pieces, F&& f) const {
    const auto view = [&](int i) { return View<const T>(columns_of_head<T>(c.in(i), b, h, o_.heads)); };
    const View<const T> q = view(kQ), k = view(kK), v = view(kV), cache_k = view(kCacheK), cache_v = view(kCacheV);
    const int64_t rows = strip(c);
    for (const GroupPiece& p : pieces)
      for (int64_t row = p.from; row < p.to; row += rows) {
        const int64_t count = std::min(rows, p.to - row), own = row + count - p.from;
        Strip<T> s{q.part(row, count),      cache_k, cache_v, k.part(p.from, own), v.part(p.from, own),
                   p.before + row - p.from, count};
        s.cache_k.rows = s.cache_v.rows = p.before;
        f(s, row, p.from);
      }
  }

  ScoreAttentionOptions o_;
};

}  // namespace

Tensor score_attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& bias,
                       const ScoreAttentionOptions& options, const GroupCache& cache, const Tensor& segments) {
  return run(std::make_unique<ScoreAttentionOp>(options), {q, k, v, cache.k, cache.v, cache.before, bias, segments});
}

}  // namespace effllm
