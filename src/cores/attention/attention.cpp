#include "cores/attention/attention.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

#include "autodiff/op.h"
#include "cores/common/heads.h"
#include "kernels/attention.h"

namespace effllm {
namespace {

// Pairs of causal queries in the prefix with the keys after theirs; where shapes alone are known, the mean over
// prefixes of 1 .. T tokens.
double pairs_of_prefix(const Tensor& prefix, int64_t batch, int64_t queries, int64_t keys, const AttentionOptions& o) {
  if (!prefix.defined()) return 0;
  // How many of the keys after its own query i may see: those of the window, and sinks behind it.
  const auto most = [&](int64_t i) {
    return o.window ? std::max(o.window - 1, o.sinks - 1 - (keys - queries + i)) : queries;
  };
  double sum = 0;
  if (prefix.is_meta()) {
    for (int64_t i = 0; i < queries; ++i) {
      const auto after = static_cast<double>(queries - 1 - i), seen = std::min(after, static_cast<double>(most(i)));
      sum += seen * (seen + 1) / 2 + (after - seen) * seen;
    }
    return static_cast<double>(batch) * sum / static_cast<double>(queries);
  }
  for (int64_t b = 0; b < batch; ++b) {
    const int64_t end = prefix.data<int64_t>()[b];
    for (int64_t i = 0; i < end; ++i) sum += static_cast<double>(std::min(end - 1 - i, most(i)));
  }
  return sum;
}

class AttentionOp : public FloatOp<AttentionOp> {
 public:
  explicit AttentionOp(const AttentionOptions& o) : o_(o) {}
  std::string_view name() const override { return "attention"; }

  Outputs infer(std::span<const Tensor> in) const override {
    const Tensor &q = in[0], &k = in[1], &v = in[2];
    const int64_t h = o_.heads, g = o_.kv_heads;
    require(h > 0 && g > 0 && h % g == 0, "attention: {} heads can't share {} key-value heads", h, g);
    const auto is_input = [&](const Tensor& x) {
      return x.shape().rank() == 3 && x.dtype() == q.dtype() && x.dim(0) == q.dim(0);
    };
    require(is_float(q.dtype()) && is_input(q) && is_input(k) && is_input(v) && q.cols() % h == 0 &&
                k.cols() == q.cols() / h * g && v.cols() % g == 0 && k.dim(1) == v.dim(1) && q.cols() > 0 &&
                v.cols() > 0,
            "attention: q {}, k {}, v {} don't fit {} heads and {} key-value heads", q.shape().str(), k.shape().str(),
            v.shape().str(), h, g);
    require(o_.window >= 0 && o_.sinks >= 0 && o_.dropout >= 0 && o_.dropout < 1 && o_.chunk > 0,
            "attention: window {}, sinks {}, dropout {}, chunk {}: out of range", o_.window, o_.sinks, o_.dropout,
            o_.chunk);
    require(o_.block >= 0 && (o_.block == 0 || !o_.causal), "attention: blocks of {} with causal keys", o_.block);
    require(!o_.noisy || (o_.block > 0 && o_.sinks == 0 && q.dim(1) % 2 == 0 && k.dim(1) == q.dim(1) &&
                          !in[3].defined() && !in[4].defined()),
            "attention: {} queries and {} keys are no two streams of blocks of {} ({} sinks)", q.dim(1), k.dim(1),
            o_.block, o_.sinks);
    require(!in[6].defined() || o_.causal, "attention: a prefix belongs to causal attention");
    const int64_t b = q.dim(0), t = q.dim(1);
    for (size_t i = 3; i < 7; ++i)
      require(!in[i].defined() || (in[i].dtype() == DType::i64 && in[i].shape() == (i == 5 ? Shape{b, t} : Shape{b})),
              "attention: {} {} of {} does not fit q {}",
              i == 3   ? "q_offset"
              : i == 4 ? "gap"
              : i == 5 ? "segments"
                       : "prefix",
              in[i].shape().str(), to_string(in[i].dtype()), q.shape().str());
    if (in[7].defined() || in[8].defined()) {
      const Tensor& seen = in[7].defined() ? in[7] : in[8];
      require(seen.dtype() == DType::i64 && seen.shape() == (in[7].defined() ? Shape{b} : Shape{b, t, 2}) &&
                  !(in[7].defined() && in[8].defined()) && !in[3].defined() && !in[4].defined() && !in[5].defined() &&
                  !o_.causal && o_.window == 0 && o_.block == 0 && !o_.alibi,
              "attention: {} {} for keys that queries do not stand among", in[7].defined() ? "lengths" : "ranges",
              seen.shape().str());
    } else {
      require(in[3].defined() || k.dim(1) >= t, "attention: {} keys for {} queries", k.dim(1), t);
    }
    return Outputs({{{b, t, v.cols() / g * h}, q.dtype()}, {{b, h, t}, q.dtype()}}, 1);
  }

  Cost cost(std::span<const Tensor> in) const override {
    const Tensor &q = in[0], &k = in[1], &v = in[2];
    const int64_t dk = q.cols() / o_.heads, dv = v.cols() / o_.kv_heads;
    const double of_head = in[8].defined() ? o_.in_range * static_cast<double>(q.rows())
                                           : attention_pairs(q.dim(1), k.dim(1), o_) * static_cast<double>(q.dim(0)) +
                                                 pairs_of_prefix(in[6], q.dim(0), q.dim(1), k.dim(1), o_),
                 pairs = of_head * static_cast<double>(o_.heads);
    const auto width = static_cast<double>(dk + dv), size = static_cast<double>(size_of(q.dtype()));
    const double inputs = static_cast<double>(q.numel() + k.numel() + v.numel()) * size;
    const double output = static_cast<double>(q.rows() * dv * o_.heads) * size;
    const double lse = static_cast<double>(q.rows() * o_.heads) * size;
    return {2 * width * pairs, (4 * width + 2 * static_cast<double>(dk)) * pairs, inputs + output + lse,
            2 * inputs + 2 * output + lse, 2 * width * pairs};
  }

  Keeps keeps() const override { return {0b111111111, 0b11}; }

  Scratch scratch(std::span<const TensorSpec> in) const override {
    const Shape &q = in[0].shape, &k = in[1].shape, &v = in[2].shape;
    const int64_t n =
        at_once(q[0] * o_.heads) *
        kernel::attention_scratch<float>(q[1], few_sizes(k[1], 256), q[2] / o_.heads, v[2] / o_.kv_heads, o_.chunk);
    return scratch_of(n, n, in[0].dtype);
  }

  template <class T>
  void forward_in(Forward& c) {
    const Call call = prepare(c.in(0), c.in(1), c.in(2), {c.in(3), c.in(4), c.in(5), c.in(6), c.in(7), c.in(8)});
    for_each_with_memory<T>(call.batch * o_.heads, scratch_size<T>(call), [&](int64_t item, T* scratch) {
      const int64_t b = item / o_.heads, h = item % o_.heads;
      AttentionArgs<T> a = args<T>(call, c.in(0), c.in(1), c.in(2), b, h, scratch);
      a.o = c.out(0).view<T>().part(b * call.queries, call.queries).columns(h * a.v.cols, a.v.cols);
      a.lse = c.recording() ? c.out(1).view<T>().row(item) : nullptr;
      kernel::attention<T>(a);
    });
  }

  template <class T>
  void backward_in(Backward& c) {
    const Call call = prepare(c.in(0), c.in(1), c.in(2), {c.in(3), c.in(4), c.in(5), c.in(6), c.in(7), c.in(8)});
    const Sink sinks[] = {c.sink(0), c.sink(1), c.sink(2)};
    const int64_t group = o_.heads / o_.kv_heads, n = call.queries;
    for_each_with_memory<T>(call.batch * o_.kv_heads, scratch_size<T>(call), [&](int64_t item, T* scratch) {
      const int64_t b = item / o_.kv_heads, kv = item % o_.kv_heads;
      for (int64_t h = kv * group; h < (kv + 1) * group; ++h) {  // the heads of a group add up in this order
        AttentionArgs<T> a = args<T>(call, c.in(0), c.in(1), c.in(2), b, h, scratch);
        const int64_t dk = a.q.cols, dv = a.v.cols;
        const auto head = [&](const Tensor& t, int64_t rows, int64_t column, int64_t width) {
          return t.view<T>().part(b * rows, rows).columns(column, width);
        };
        a.o = head(c.out(0), n, h * dv, dv);
        a.lse = c.out(1).view<T>().row(b * o_.heads + h);
        AttentionBackwardArgs<T> g;
        g.d_o = head(c.grad(0), n, h * dv, dv);
        if (c.wants(0)) g.dq = head(sinks[0].into, n, h * dk, dk), g.add_q = sinks[0].accumulate;
        const bool later = h > kv * group;
        if (c.wants(1)) g.dk = head(sinks[1].into, call.keys, kv * dk, dk), g.add_k = later || sinks[1].accumulate;
        if (c.wants(2)) g.dv = head(sinks[2].into, call.keys, kv * dv, dv), g.add_v = later || sinks[2].accumulate;
        keep_rows(g.dk, a.k.rows, g.add_k);
        keep_rows(g.dv, a.k.rows, g.add_v);
        kernel::attention_backward<T>(a, g);
      }
    });
  }

 private:
  // What all heads of a call share.
  struct Call {
    int64_t batch, queries, keys, dk, dv;
    // [B], [B], keys that a sequence's queries may see [B], [B*T], [B*T], [B]; the last three may be empty
    std::vector<int64_t> q_offset, gap, length, first, last, prefix;
  };

  template <class T>
  int64_t scratch_size(const Call& c) const {
    return kernel::attention_scratch<T>(c.queries, few_sizes(c.keys, 256), c.dk, c.dv, o_.chunk);
  }

  Call prepare(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionPlaces& places) const {
    const auto& [q_offset, gap, segments, prefix, lengths, ranges] = places;
    Call c{q.dim(0), q.dim(1), k.dim(1), q.cols() / o_.heads, v.cols() / o_.kv_heads, {}, {}, {}, {}, {}};
    const auto b = static_cast<size_t>(c.batch), n = static_cast<size_t>(c.queries);
    c.q_offset.assign(b, c.keys - c.queries);
    c.gap.assign(b, 0);
    if (lengths.defined()) {
      c.q_offset.assign(b, 0);
      c.length.assign(lengths.data<int64_t>(), lengths.data<int64_t>() + b);
      for (size_t i = 0; i < b; ++i)
        require(c.length[i] >= 1 && c.length[i] <= c.keys, "attention: sequence {}: {} of {} keys", i, c.length[i],
                c.keys);
      return c;
    }
    if (ranges.defined()) {
      c.q_offset.assign(b, 0);
      c.length.assign(b, c.keys);
      for (int64_t row = 0; row < c.batch * c.queries; ++row) {
        const int64_t* keys = ranges.view<int64_t>().row(row);
        require(keys[0] >= 0 && keys[0] <= keys[1] && keys[1] <= c.keys, "attention: keys {} to {} of {}", keys[0],
                keys[1], c.keys);
        c.first.push_back(keys[0]);
        c.last.push_back(keys[1]);
      }
      return c;
    }
    if (q_offset.defined()) std::copy_n(q_offset.data<int64_t>(), b, c.q_offset.begin());
    if (gap.defined()) std::copy_n(gap.data<int64_t>(), b, c.gap.begin());
    for (size_t i = 0; i < b; ++i)
      require(c.q_offset[i] >= 0 && c.q_offset[i] + c.queries <= c.keys && c.gap[i] >= 0,
              "attention: sequence {}: {} queries from key {} on (gap {}) don't fit {} keys", i, c.queries,
              c.q_offset[i], c.gap[i], c.keys);
    for (size_t i = 0; i < b; ++i) c.length.push_back(c.q_offset[i] + c.queries);
    if (prefix.defined()) {
      c.prefix.assign(prefix.data<int64_t>(), prefix.data<int64_t>() + b);
      for (const int64_t p : c.prefix)
        require(p >= 0 && p <= c.queries, "attention: a prefix of {} among {} queries", p, c.queries);
    }
    if (segments.defined()) {
      c.first.resize(b * n);
      c.last.resize(b * n);
      for (size_t i = 0; i < b; ++i)
        document_keys(segments.view<int64_t>().row(static_cast<int64_t>(i)), c.queries, c.q_offset[i],
                      o_.causal && !prefix.defined(), c.first.data() + i * n, c.last.data() + i * n);
    }
    return c;
  }

  template <class T>
  AttentionArgs<T> args(const Call& c, const Tensor& q, const Tensor& k, const Tensor& v, int64_t b, int64_t h,
                        T* scratch) const {
    const int64_t kv = h * o_.kv_heads / o_.heads, at = c.q_offset[static_cast<size_t>(b)],
                  seen = c.length[static_cast<size_t>(b)];
    AttentionArgs<T> a;
    a.q = q.view<T>().part(b * c.queries, c.queries).columns(h * c.dk, c.dk);
    a.k = k.view<T>().part(b * c.keys, seen).columns(kv * c.dk, c.dk);
    a.v = v.view<T>().part(b * c.keys, seen).columns(kv * c.dv, c.dv);
    a.q_offset = at;
    a.scale = o_.scale != 0 ? o_.scale : 1 / std::sqrt(static_cast<double>(c.dk));
    a.alibi_slope = o_.alibi ? alibi_slope(h, o_.heads) : 0;
    a.causal = o_.causal;
    a.window = o_.window;
    a.sinks = o_.sinks;
    a.gap = c.gap[static_cast<size_t>(b)];
    if (!c.prefix.empty() && c.prefix[static_cast<size_t>(b)] > 0) a.prefix = at + c.prefix[static_cast<size_t>(b)];
    a.block = o_.block;
    a.clean = o_.noisy ? c.queries / 2 : 0;
    a.first = c.first.empty() ? nullptr : c.first.data() + b * c.queries;
    a.last = c.last.empty() ? nullptr : c.last.data() + b * c.queries;
    a.drop_below = static_cast<uint32_t>(o_.dropout * 0x1p32);
    a.drop_key0 = o_.drop_key[0];
    a.drop_key1 = o_.drop_key[1];
    a.drop_c2 = static_cast<uint32_t>(h);
    a.drop_c3 = static_cast<uint32_t>(o_.samples[b]);
    a.drop_scale = 1 / (1 - o_.dropout);
    a.strip = o_.chunk;
    a.scratch = scratch;
    return a;
  }

  // Cuts a gradient to the keys that exist; the rows beyond them have none.
  template <class T>
  static void keep_rows(View<T>& d, int64_t rows, bool add) {
    if (!d) return;
    for (int64_t r = rows; r < d.rows && !add; ++r) std::fill_n(d.row(r), d.cols, T(0));
    d.rows = rows;
  }

  AttentionOptions o_;
};

}  // namespace

Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options,
                 const AttentionPlaces& places) {
  return run(std::make_unique<AttentionOp>(options),
             {q, k, v, places.q_offset, places.gap, places.segments, places.prefix, places.lengths, places.ranges});
}

double alibi_slope(int64_t head, int64_t heads) {
  const auto lower = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(heads)));
  if (head < lower) return std::exp2(-8.0 * static_cast<double>(head + 1) / static_cast<double>(lower));
  return std::exp2(-8.0 * static_cast<double>(2 * (head - lower) + 1) / static_cast<double>(2 * lower));
}

double attention_pairs(int64_t queries, int64_t keys, const AttentionOptions& o) {
  if (o.noisy) {
    AttentionOptions clean = o;
    clean.noisy = false;
    return 2 * attention_pairs(queries / 2, queries / 2, clean);  // at one place clean and noisy see as many
  }
  int64_t pairs = 0;
  for (int64_t i = 0; i < queries; ++i) {
    const int64_t at = keys - queries + i, of_block = o.block ? std::min(keys, (at / o.block + 1) * o.block) : keys,
                  end = o.causal ? at + 1 : of_block;
    if (o.window == 0) {
      pairs += end;
      continue;
    }
    const int64_t from = std::max<int64_t>(0, at - o.window + 1), to = std::min(end, at + o.window);
    const int64_t sinks = std::min(o.sinks, end);
    pairs += to - from + std::min(sinks, from) + std::max<int64_t>(0, sinks - to);
  }
  return static_cast<double>(pairs);
}

void document_keys(const int64_t* segments, int64_t queries, int64_t q_offset, bool causal, int64_t* first,
                   int64_t* last) {
  for (int64_t i = 0; i < queries; ++i) {
    const int64_t number = segments ? segments[i] : 0, before = i > 0 ? segments ? segments[i - 1] : 0 : 0;
    first[i] = number != before ? q_offset + i : i > 0 ? first[i - 1] : 0;
  }
  for (int64_t i = queries - 1; i >= 0; --i) {
    const bool ends = i == queries - 1 || (segments && segments[i + 1] != segments[i]);
    last[i] = causal ? q_offset + queries : ends ? q_offset + i + 1 : last[i + 1];
  }
}

}  // namespace effllm
