#include "cores/attention/selected_attention.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "autodiff/op.h"
#include "cores/attention/attention.h"
#include "cores/attention/selected_by_block.h"
#include "cores/common/heads.h"
#include "cores/common/segments.h"
#include "kernels/attention.h"
#include "kernels/parallel.h"

namespace effllm {
namespace {

enum Input { kQ, kK, kV, kBlocks, kOffset, kSegments };

constexpr int64_t kManyTokens = 8;  // from here on blocks gather their queries, below queries their keys

// The keys of one token and key-value head: their numbers, and their rows one after another.
template <class T>
struct Gathered {
  std::vector<int64_t> keys;
  View<T> k, v, dk, dv;  // [most, dk] and [most, dv]; the gradients only backwards
  T* scratch;

  static int64_t size(int64_t most, int64_t dk, int64_t dv, int64_t group, bool backward) {
    return (backward ? 2 : 1) * most * (dk + dv) + kernel::attention_scratch<T>(group, most, dk, dv, group);
  }
  Gathered(int64_t most, int64_t dk_width, int64_t dv_width, int64_t group, bool backward)
      : memory_(Tensor::dense({size(most, dk_width, dv_width, group, backward)}, dtype_of<T>)) {
    T* next = memory_.data<T>();
    const auto take = [&](int64_t width) {
      const View<T> rows{next, most, width, width};
      next += most * width;
      return rows;
    };
    k = take(dk_width);
    v = take(dv_width);
    if (backward) dk = take(dk_width), dv = take(dv_width);
    scratch = next;
  }

 private:
  Tensor memory_;
};

class SelectedAttentionOp final : public FloatOp<SelectedAttentionOp> {
 public:
  explicit SelectedAttentionOp(const SelectedAttentionOptions& o) : o_(o) {}
  std::string_view name() const override { return "selected_attention"; }

  Outputs infer(std::span<const Tensor> in) const override {
    const Tensor &q = in[kQ], &k = in[kK], &v = in[kV], &blocks = in[kBlocks];
    const int64_t h = o_.heads, g = o_.kv_heads;
    require(h > 0 && g > 0 && h % g == 0 && o_.block > 0,
            "selected_attention: {} heads, {} key-value heads, blocks of {}", h, g, o_.block);
    const auto is_input = [&](const Tensor& x) {
      return x.shape().rank() == 3 && x.dtype() == q.dtype() && x.dim(0) == q.dim(0);
    };
    require(is_float(q.dtype()) && is_input(q) && is_input(k) && is_input(v) && q.cols() % h == 0 &&
                k.cols() == q.cols() / h * g && v.cols() % g == 0 && k.dim(1) == v.dim(1),
            "selected_attention: q{}, k{}, v{} don't fit {} heads and {} key-value heads", q.shape().str(),
            k.shape().str(), v.shape().str(), h, g);
    const int64_t b = q.dim(0), t = q.dim(1);
    require(blocks.dtype() == DType::i64 && blocks.shape().rank() == 3 && blocks.dim(0) == b && blocks.dim(1) == t &&
                blocks.cols() % g == 0 && blocks.cols() > 0,
            "selected_attention: blocks{} are not i64 [{}, {}, {} n]", blocks.shape().str(), b, t, g);
    require(!in[kOffset].defined() || (in[kOffset].dtype() == DType::i64 && in[kOffset].shape() == Shape{b}),
            "selected_attention: q_offset{} for {} sequences", in[kOffset].shape().str(), b);
    require(in[kOffset].defined() || k.dim(1) >= t, "selected_attention: {} keys for {} queries", k.dim(1), t);
    require_segments(name(), in[kSegments], b, t);
    return Outputs({{{b, t, v.cols() / g * h}, q.dtype()}, {{b, t, h}, q.dtype()}}, 1);
  }

  // Expected work: full blocks, as far as there are keys before a token.
  Cost cost(std::span<const Tensor> in) const override {
    const Tensor &q = in[kQ], &k = in[kK], &v = in[kV];
    const int64_t dk = q.cols() / o_.heads, dv = v.cols() / o_.kv_heads, t = q.dim(1), before = k.dim(1) - t;
    const int64_t most = in[kBlocks].cols() / o_.kv_heads * o_.block;
    double pairs = 0;
    for (int64_t i = 0; i < t; ++i) pairs += static_cast<double>(std::min(most, before + i + 1));
    pairs *= static_cast<double>(q.dim(0) * o_.heads);
    const auto width = static_cast<double>(dk + dv), size = static_cast<double>(size_of(q.dtype()));
    const double gathered = pairs * static_cast<double>(o_.kv_heads) / static_cast<double>(o_.heads) * width;
    const double keys = std::min(gathered, static_cast<double>(k.numel() + v.numel()));
    const double bytes = size * (keys + static_cast<double>(q.numel() + t * q.dim(0) * o_.heads * dv));
    const double product = 2 * width * pairs;
    return {product, 2 * product + 2 * static_cast<double>(dk) * pairs, bytes, 2 * bytes, product};
  }

  Keeps keeps() const override { return {0b111111, 0b11}; }

  // Rows of the queries of a block, or of the keys of a query.
  Scratch scratch(std::span<const TensorSpec> in) const override {
    const Shape &q = in[kQ].shape, &k = in[kK].shape, &v = in[kV].shape;
    const int64_t group = o_.heads / o_.kv_heads, dk = k[2] / o_.kv_heads, dv = v[2] / o_.kv_heads,
                  workers = at_once(q[0] * o_.kv_heads);
    const bool by_block = q[1] >= kManyTokens;
    const auto of = [&](int64_t sides) {
      return workers * (by_block ? selected_scratch_by_block(group, std::min(o_.block, k[1]), dk, dv, sides > 1)
                                 : Gathered<float>::size(std::min(in[kBlocks].shape[2] / o_.kv_heads * o_.block, k[1]),
                                                         dk, dv, group, sides > 1));
    };
    return scratch_of(of(1), of(2), in[kQ].dtype);
  }

  template <class T>
  void forward_in(Forward& c) {
    if (by_block(c)) return selected_forward_by_block<T>(call(c), c.out(0), c.recording() ? c.out(1) : Tensor());
    for_groups<T>(c, false, [&](Gathered<T>& keys, int64_t row, int64_t group) {
      AttentionArgs<T> a = args<T>(c.in(kQ), keys, row, group);
      a.o = heads_of<T>(o_, c.out(0), row, group);
      a.lse = c.recording() ? lse_of<T>(c.out(1), row, group) : nullptr;
      kernel::attention<T>(a);
    });
  }

  template <class T>
  void backward_in(Backward& c) {
    const Sink dq = c.sink(kQ);
    const Tensor dk = c.sum(kK), dv = c.sum(kV);
    if (by_block(c)) return selected_backward_by_block<T>(call(c), {c.out(0), c.out(1), c.grad(0), dq, dk, dv});
    const int64_t keys_in_all = c.in(kK).dim(1), queries = c.in(kQ).dim(1);
    for_groups<T>(c, true, [&](Gathered<T>& keys, int64_t row, int64_t group) {
      AttentionArgs<T> a = args<T>(c.in(kQ), keys, row, group);
      a.o = heads_of<T>(o_, c.out(0), row, group);
      a.lse = lse_of<T>(c.out(1), row, group);
      AttentionBackwardArgs<T> g;
      g.d_o = heads_of<T>(o_, c.grad(0), row, group);
      const auto n = static_cast<int64_t>(keys.keys.size());
      if (c.wants(kQ)) g.dq = heads_of<T>(o_, dq.into, row, group), g.add_q = dq.accumulate;
      if (c.wants(kK)) g.dk = keys.dk.part(0, n);
      if (c.wants(kV)) g.dv = keys.dv.part(0, n);
      kernel::attention_backward<T>(a, g);
      const auto scatter = [&](View<const T> from, const Tensor& into) {
        const int64_t first = row / queries * keys_in_all;
        for (int64_t i = 0; from && i < n; ++i) {
          T* to = into.view<T>().row(first + keys.keys[static_cast<size_t>(i)]) + group * from.cols;
          for (int64_t x = 0; x < from.cols; ++x) to[x] += from.row(i)[x];
        }
      };
      scatter(g.dk, dk);
      scatter(g.dv, dv);
    });
  }

 private:
  template <class Pass>
  static bool by_block(const Pass& c) {
    return c.in(kQ).dim(1) >= kManyTokens;
  }
  template <class Pass>
  SelectedCall call(const Pass& c) const {
    return {o_, c.in(kQ), c.in(kK), c.in(kV), c.in(kBlocks), c.in(kOffset), c.in(kSegments)};
  }

  template <class T>
  T* lse_of(const Tensor& lse, int64_t row, int64_t group) const {
    return lse.view<T>().row(row) + group * (o_.heads / o_.kv_heads);
  }
  template <class T>
  AttentionArgs<T> args(const Tensor& q, const Gathered<T>& keys, int64_t row, int64_t group) const {
    AttentionArgs<T> a;
    const auto n = static_cast<int64_t>(keys.keys.size());
    a.q = heads_of<T>(o_, q, row, group);
    a.k = keys.k.part(0, n);
    a.v = keys.v.part(0, n);
    a.scale = o_.scale != 0 ? o_.scale : 1 / std::sqrt(static_cast<double>(a.q.cols));
    a.causal = false;
    a.strip = a.q.rows;
    a.scratch = keys.scratch;
    return a;
  }

  // f(keys, row of the token, key-value head) for all tokens of every sequence and key-value head. A thread takes whole
  // (sequence, head) pairs, so that the gradients of keys add up in the order of tokens.
  template <class T, class Pass, class F>
  void for_groups(const Pass& c, bool backward, F&& f) const {
    const Tensor &q = c.in(kQ), &k = c.in(kK), &v = c.in(kV), &blocks = c.in(kBlocks), &offset = c.in(kOffset);
    const int64_t tokens = q.dim(1), keys = k.dim(1), groups = o_.kv_heads, n = blocks.cols() / groups;
    const int64_t dk = k.cols() / groups, dv = v.cols() / groups;
    const DocumentStarts starts(c.in(kSegments));
    parallel_for(q.dim(0) * groups, 1, [&](int64_t item, int64_t) {
      const int64_t b = item / groups, g = item % groups, first_row = b * keys;
      const int64_t at = first_key(offset, b, tokens, keys);
      const int64_t most = std::min(n * o_.block, keys);
      Gathered<T> gathered(most, dk, dv, o_.heads / groups, backward);
      int64_t first = 0;  // key of the document
      for (int64_t t = 0; t < tokens; ++t) {
        if (const uint8_t* s = starts.row(b); s && s[t]) first = at + t;
        const int64_t end = at + t + 1;
        gathered.keys.clear();
        const int64_t* list = blocks.view<int64_t>().row(b * tokens + t) + g * n;
        for (int64_t i = 0; i < n; ++i) {
          if (list[i] < 0) continue;
          require(list[i] * o_.block < keys, "selected_attention: block {} of {} keys, there are {}", list[i], o_.block,
                  keys);
          const int64_t from = first + list[i] * o_.block, to_key = std::min(end, from + o_.block);
          require(static_cast<int64_t>(gathered.keys.size()) + to_key - from <= most,
                  "selected_attention: token {} reads a block twice", t);
          for (int64_t j = from; j < to_key; ++j) {
            const auto to = static_cast<int64_t>(gathered.keys.size());
            std::copy_n(k.view<T>().row(first_row + j) + g * dk, dk, gathered.k.row(to));
            std::copy_n(v.view<T>().row(first_row + j) + g * dv, dv, gathered.v.row(to));
            gathered.keys.push_back(j);
          }
        }
        f(gathered, b * tokens + t, g);
      }
    });
  }

  SelectedAttentionOptions o_;
};

}  // namespace

Tensor selected_attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& blocks,
                          const SelectedAttentionOptions& options, const Tensor& q_offset, const Tensor& segments) {
  return run(std::make_unique<SelectedAttentionOp>(options), {q, k, v, blocks, q_offset, segments});
}

}  // namespace effllm
