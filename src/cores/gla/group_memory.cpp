#include "cores/gla/group_memory.h"

#include <algorithm>

#include "autodiff/float_op.h"
#include "cores/attention/token_groups.h"
#include "cores/common/head_product.h"
#include "cores/common/segments.h"
#include "kernels/parallel.h"

namespace effllm {
namespace {

enum Input { kQ, kK, kV, kState0, kCacheK, kCacheV, kBefore, kSegments };

// One head of one sequence.
template <class T>
struct Head {
  View<const T> q, k, v, cache_k, cache_v, state0;
  std::vector<GroupPiece> pieces;

  // s += sum of k v^T over the whole group that ends with piece p.
  void take_in(const GroupPiece& p, View<T> s) const {
    product<T>(cache_k.part(0, p.before), true, cache_v.part(0, p.before), false, s, true);
    product<T>(k.part(p.from, p.to - p.from), true, v.part(p.from, p.to - p.from), false, s, true);
  }
};

class GroupMemoryOp final : public FloatOp<GroupMemoryOp> {
 public:
  GroupMemoryOp(int64_t heads, int64_t group) : heads_(heads), group_(group) {}
  std::string_view name() const override { return "group_memory"; }

  Outputs infer(std::span<const Tensor> in) const override {
    const Shape &q = in[kQ].shape(), &v = in[kV].shape();
    const DType type = in[kQ].dtype();
    require(heads_ >= 1 && group_ >= 1, "group_memory: {} heads, groups of {}", heads_, group_);
    require(q.rank() == 3 && q[1] >= 1 && in[kK].shape() == q && v.rank() == 3 && v[0] == q[0] && v[1] == q[1] &&
                q[2] % heads_ == 0 && v[2] % heads_ == 0 && q[2] > 0 && v[2] > 0 && is_float(type) &&
                in[kK].dtype() == type && in[kV].dtype() == type,
            "group_memory: q{}, k{}, v{} are not [B, T, H*dk] twice and [B, T, H*dv] with H = {}", q.str(),
            in[kK].shape().str(), v.str(), heads_);
    const Shape state{q[0], heads_, q[2] / heads_, v[2] / heads_};
    require(!in[kState0].defined() || (in[kState0].shape() == state && in[kState0].dtype() == type),
            "group_memory: state0{} for q{} and v{}, it should be {}", in[kState0].shape().str(), q.str(), v.str(),
            state.str());
    require_cache(name(), in[kK], in[kCacheK], in[kBefore], group_);
    require_cache(name(), in[kV], in[kCacheV], in[kBefore], group_);
    require_segments(name(), in[kSegments], q[0], q[1]);
    return {{v, type}, {state, type}};
  }

  // Of one document that starts with the call; with a state, of tokens that all read one and are all taken in.
  Cost cost(std::span<const Tensor> in) const override {
    const Tensor &q = in[kQ], &v = in[kV];
    const int64_t t = q.dim(1), read = in[kState0].defined() ? t : t - std::min(t, group_),
                  written = in[kState0].defined() ? t : t / group_ * group_;
    const double size = 2 * static_cast<double>(q.cols() / heads_ * v.cols() * q.dim(0));
    const double reads = size * static_cast<double>(read), writes = size * static_cast<double>(written);
    const double bytes = static_cast<double>(size_of(q.dtype())) * static_cast<double>(q.rows()) *
                         static_cast<double>(2 * q.cols() + 2 * v.cols());
    return {reads + writes, 2 * reads + 3 * writes, bytes, 2 * bytes, reads + writes};
  }
  Keeps keeps() const override { return {.inputs = 0xff}; }

  // Backwards the states after each group, for each thread.
  Scratch scratch(std::span<const TensorSpec> in) const override {
    const Shape &q = in[kQ].shape, &v = in[kV].shape;
    const int64_t states = (q[1] + group_ - 1) / group_ + 2;
    return scratch_of(0, at_once(q[0] * heads_) * states * (q[2] / heads_) * (v[2] / heads_), in[kQ].dtype);
  }

  template <class T>
  void forward_in(Forward& c) {
    const DocumentStarts starts(c.in(kSegments));
    if (c.in(kState0).defined() && unchanged(c, starts)) c.out(1) = c.in(kState0).untracked();
    const bool keep = c.in(kState0).defined() && c.out(1).raw() == c.in(kState0).raw();
    parallel_for(c.in(kQ).dim(0) * heads_, 1, [&](int64_t item, int64_t) {
      const Head<T> head = head_at<T>(c, item, starts);
      const View<T> o = columns_of_head<T>(c.out(0), item / heads_, item % heads_, heads_),
                    s = state_of_head<T>(c.out(1), item);
      bool empty = !head.state0;
      if (!keep) start_state<T>(head.state0, s);
      for (const GroupPiece& p : head.pieces) {
        if (p.fresh) clear(s), empty = true;
        const View<T> to = o.part(p.from, p.to - p.from);
        empty ? clear(to) : product<T>(head.q.part(p.from, to.rows), false, s, false, to, false);
        if (p.complete) head.take_in(p, s), empty = false;
      }
    });
  }

  template <class T>
  void backward_in(Backward& c) {
    const DocumentStarts starts(c.in(kSegments));
    const Sink sinks[] = {c.sink(kQ), c.sink(kK), c.sink(kV), c.sink(kCacheK), c.sink(kCacheV), c.sink(kState0)};
    for (int i : {3, 4, 5})
      if (sinks[i].into.defined() && !sinks[i].accumulate) fill(sinks[i].into, 0);
    const int64_t dk = c.in(kQ).cols() / heads_, dv = c.in(kV).cols() / heads_;
    // The states after each group that ends in the call, then the gradient of the running one.
    const int64_t most = (c.in(kQ).dim(1) + group_ - 1) / group_ + 1;
    for_each_with_memory<T>(c.in(kQ).dim(0) * heads_, (most + 1) * dk * dv, [&](int64_t i, T* memory) {
      differentiate<T>(c, head_at<T>(c, i, starts), i, sinks, memory);
    });
  }

 private:
  template <class T, class Pass>
  Head<T> head_at(const Pass& c, int64_t item, const DocumentStarts& starts) const {
    const int64_t b = item / heads_, h = item % heads_;
    const auto view = [&](int i) { return View<const T>(columns_of_head<T>(c.in(i), b, h, heads_)); };
    return {view(kQ),
            view(kK),
            view(kV),
            view(kCacheK),
            view(kCacheV),
            state_of_head<T>(c.in(kState0), item),
            group_pieces(starts.row(b), c.in(kQ).dim(1), group_, before_of(c.in(kBefore), b))};
  }
  bool unchanged(const Forward& c, const DocumentStarts& starts) const {
    for (int64_t b = 0; b < c.in(kQ).dim(0); ++b)
      for (const GroupPiece& p : group_pieces(starts.row(b), c.in(kQ).dim(1), group_, before_of(c.in(kBefore), b)))
        if (p.fresh || p.complete) return false;
    return true;
  }

  template <class T>
  void differentiate(const Backward& c, const Head<T>& head, int64_t item, const Sink* sinks, T* memory) const {
    const int64_t dk = head.q.cols, dv = head.v.cols;
    const auto view = [&](int i) { return columns_of_head<T>(sinks[i].into, item / heads_, item % heads_, heads_); };
    const View<T> dq = view(0), dk_sink = view(1), dv_sink = view(2), d_cache_k = view(3), d_cache_v = view(4),
                  d_state0 = state_of_head<T>(sinks[5].into, item);
    const View<const T> g = columns_of_head<T>(c.grad(0), item / heads_, item % heads_, heads_),
                        d_last = state_of_head<T>(c.grad(1), item);
    const auto saved = [&](int64_t i) { return View<T>{memory + (i + 1) * dk * dv, dk, dv, dv}; };
    // What each piece reads: nothing, state0, or the state after so many ends of groups.
    std::vector<View<const T>> reads;
    View<const T> now = head.state0;
    int64_t ends = 0;
    for (const GroupPiece& p : head.pieces) {
      if (p.fresh) now = {};
      reads.push_back(now);
      if (!p.complete) continue;
      const View<T> next = saved(ends++);
      start_state<T>(now, next);
      head.take_in(p, next);
      now = next;
    }
    const View<T> d{memory, dk, dv, dv};
    bool reached = static_cast<bool>(d_last);  // whether d holds anything
    start_state<T>(d_last, d);
    for (size_t i = head.pieces.size(); i-- > 0;) {
      const GroupPiece& p = head.pieces[i];
      const int64_t n = p.to - p.from;
      const auto part = [&](auto x) { return x.part(p.from, n); };
      if (p.complete && reached) {
        const View<const T> gradient = d;
        if (dk_sink) product<T>(part(head.v), false, gradient, true, part(dk_sink), sinks[1].accumulate);
        if (dv_sink) product<T>(part(head.k), false, gradient, false, part(dv_sink), sinks[2].accumulate);
        if (d_cache_k)
          product<T>(head.cache_v.part(0, p.before), false, gradient, true, d_cache_k.part(0, p.before), true);
        if (d_cache_v)
          product<T>(head.cache_k.part(0, p.before), false, gradient, false, d_cache_v.part(0, p.before), true);
      } else {
        if (dk_sink && !sinks[1].accumulate) clear(part(dk_sink));
        if (dv_sink && !sinks[2].accumulate) clear(part(dv_sink));
      }
      if (reads[i] && g) {
        if (dq) product<T>(part(g), false, reads[i], true, part(dq), sinks[0].accumulate);
        product<T>(part(head.q), true, part(g), false, d, true);
        reached = true;
      } else if (dq && !sinks[0].accumulate) {
        clear(part(dq));
      }
      if (p.fresh) clear(d), reached = false;
    }
    if (!d_state0 || !reached) return;
    for (int64_t r = 0; r < dk; ++r)
      for (int64_t x = 0; x < dv; ++x) d_state0.row(r)[x] += d.row(r)[x];
  }

  int64_t heads_, group_;
};

}  // namespace

GroupMemoryResult group_memory(const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads, int64_t group,
                               const Tensor& state0, const GroupCache& cache, const Tensor& segments) {
  return run_to<GroupMemoryResult>(std::make_unique<GroupMemoryOp>(heads, group),
                                   {q, k, v, state0, cache.k, cache.v, cache.before, segments});
}

}  // namespace effllm
