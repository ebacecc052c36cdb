#include "cores/attention/reference_attention.h"

#include <cmath>
#include <limits>
#include <vector>

#include "base/random.h"

namespace effllm {
namespace {

struct Row {
  std::vector<double> probability, factor;  // [S]: softmax, zero where hidden; dropout's factor
  double lse;
};

// Whether query i sees key j, and how far away it is.
bool sees(const AttentionArgs<double>& a, int64_t i, int64_t j, int64_t& distance) {
  const int64_t first = a.first ? a.first[i] : 0, last = a.last ? a.last[i] : a.k.rows;
  distance = i + a.q_offset + a.gap - (j >= a.sinks ? j + a.gap : j);
  if (a.clean > 0) {  // two streams of the same places
    const bool noisy = i >= a.clean, of_noisy = j >= a.clean;
    const int64_t query = i % a.clean, key = j % a.clean, start = first % a.clean, end = (last - 1) % a.clean + 1;
    distance = query - key;
    if (key < start || key >= end || (of_noisy && !noisy)) return false;
    if (noisy && (of_noisy ? key / a.block != query / a.block : key / a.block >= query / a.block)) return false;
    if (!noisy && key / a.block > query / a.block) return false;
    return a.window == 0 || std::abs(distance) < a.window;
  }
  if (j < first || j >= last) return false;
  if (a.causal && distance < 0 && j >= a.prefix) return false;
  const int64_t place = i + a.q_offset + a.gap;
  if (a.block > 0 && (place - distance) / a.block > place / a.block) return false;
  return a.window == 0 || std::abs(distance) < a.window || j - first < a.sinks;
}

Row attend(const AttentionArgs<double>& a, int64_t i) {
  const int64_t keys = a.k.rows;
  Row row{std::vector<double>(static_cast<size_t>(keys)), std::vector<double>(static_cast<size_t>(keys), 1.0), 0};
  std::vector<double>& p = row.probability;
  double most = -std::numeric_limits<double>::infinity(), sum = 0;
  for (int64_t j = 0; j < keys; ++j) {
    int64_t distance = 0;
    double& s = p[static_cast<size_t>(j)];
    s = -std::numeric_limits<double>::infinity();
    if (!sees(a, i, j, distance)) continue;
    s = -a.alibi_slope * static_cast<double>(std::abs(distance));
    for (int64_t c = 0; c < a.q.cols; ++c) s += a.scale * a.q.row(i)[c] * a.k.row(j)[c];
    most = std::max(most, s);
  }
  for (double& s : p) sum += s = std::isinf(s) ? 0 : std::exp(s - most);
  for (double& s : p) s = sum > 0 ? s / sum : 0;
  row.lse = sum > 0 ? most + std::log(sum) : most;
  for (int64_t j = 0; j < keys && a.drop_below > 0; ++j) {
    const auto bits =
        Philox::run({static_cast<uint32_t>(j / 4), static_cast<uint32_t>(i + a.q_offset), a.drop_c2, a.drop_c3},
                    a.drop_key0, a.drop_key1);
    row.factor[static_cast<size_t>(j)] = bits[static_cast<size_t>(j % 4)] >= a.drop_below ? a.drop_scale : 0;
  }
  return row;
}

void clear(View<double> d, bool add) {
  for (int64_t r = 0; r < d.rows && !add; ++r)
    for (int64_t c = 0; c < d.cols; ++c) d.row(r)[c] = 0;
}

}  // namespace

void reference_attention(const AttentionArgs<double>& a) {
  for (int64_t i = 0; i < a.q.rows; ++i) {
    const Row row = attend(a, i);
    if (a.lse) a.lse[i] = row.lse;
    for (int64_t c = 0; c < a.v.cols; ++c) {
      double s = 0;
      for (size_t j = 0; j < row.factor.size(); ++j)
        s += row.probability[j] * row.factor[j] * a.v.row(static_cast<int64_t>(j))[c];
      a.o.row(i)[c] = s;
    }
  }
}

void reference_attention_backward(const AttentionArgs<double>& a, const AttentionBackwardArgs<double>& g) {
  clear(g.dq, g.add_q);
  clear(g.dk, g.add_k);
  clear(g.dv, g.add_v);
  for (int64_t i = 0; i < a.q.rows; ++i) {
    const Row row = attend(a, i);
    std::vector<double> dp(row.factor.size());  // of the probabilities, through dropout
    double mean = 0;
    for (size_t j = 0; j < dp.size(); ++j) {
      for (int64_t c = 0; c < a.v.cols; ++c)
        dp[j] += g.d_o.row(i)[c] * a.v.row(static_cast<int64_t>(j))[c] * row.factor[j];
      mean += dp[j] * row.probability[j];
    }
    for (size_t n = 0; n < dp.size(); ++n) {
      const auto j = static_cast<int64_t>(n);
      const double ds = row.probability[n] * (dp[n] - mean) * a.scale;
      for (int64_t c = 0; c < a.q.cols; ++c) {
        g.dq.row(i)[c] += ds * a.k.row(j)[c];
        g.dk.row(j)[c] += ds * a.q.row(i)[c];
      }
      for (int64_t c = 0; c < a.v.cols; ++c) g.dv.row(j)[c] += row.probability[n] * row.factor[n] * g.d_o.row(i)[c];
    }
  }
}

Tensor reference_attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& o,
                           const AttentionPlaces& places) {
  const int64_t dk = q.cols() / o.heads, dv = v.cols() / o.kv_heads, n = q.dim(1), keys = k.dim(1);
  const Tensor out = Tensor::empty(q.shape().with(2, o.heads * dv), DType::f64);
  std::vector<int64_t> first(static_cast<size_t>(n)), last(static_cast<size_t>(n));
  for (int64_t b = 0; b < q.dim(0); ++b)
    for (int64_t h = 0; h < o.heads; ++h) {
      const int64_t kv = h * o.kv_heads / o.heads;
      AttentionArgs<double> a;
      a.q_offset = places.q_offset.defined() ? places.q_offset.data<int64_t>()[b] : keys - n;
      a.gap = places.gap.defined() ? places.gap.data<int64_t>()[b] : 0;
      a.q = q.view<double>().part(b * n, n).columns(h * dk, dk);
      a.k = k.view<double>().part(b * keys, a.q_offset + n).columns(kv * dk, dk);
      a.v = v.view<double>().part(b * keys, a.q_offset + n).columns(kv * dv, dv);
      a.o = out.view<double>().part(b * n, n).columns(h * dv, dv);
      a.scale = o.scale != 0 ? o.scale : 1 / std::sqrt(static_cast<double>(dk));
      a.alibi_slope = o.alibi ? alibi_slope(h, o.heads) : 0;
      a.causal = o.causal;
      a.window = o.window;
      a.sinks = o.sinks;
      a.prefix = places.prefix.defined() ? a.q_offset + places.prefix.data<int64_t>()[b] : 0;
      a.block = o.block;
      a.clean = o.noisy ? n / 2 : 0;
      document_keys(places.segments.defined() ? places.segments.view<int64_t>().row(b) : nullptr, n, a.q_offset,
                    o.causal && !places.prefix.defined(), first.data(), last.data());
      a.first = first.data();
      a.last = last.data();
      a.drop_below = static_cast<uint32_t>(o.dropout * 0x1p32);
      a.drop_key0 = o.drop_key[0];
      a.drop_key1 = o.drop_key[1];
      a.drop_c2 = static_cast<uint32_t>(h);
      a.drop_c3 = static_cast<uint32_t>(o.samples[b]);
      a.drop_scale = 1 / (1 - o.dropout);
      reference_attention(a);
    }
  return out;
}

}  // namespace effllm
