// What attention's forward and backward share: which keys a row sees, and one pass over the scores of a row. Scores of
// a strip of rows are kept as panels of kTileCols keys, [panel][row][kTileCols], so that the register tiles address
// rows by constants.
#pragma once
#include "kernels/attention.h"
#include "kernels/isa/math.h"
#include "kernels/isa/random.h"
#include "kernels/isa/tile.h"

namespace effllm::EFFLLM_ISA {

inline constexpr int64_t kMostStrip = 128;  // rows; longer strips are cut
// Exponentials are powers of two in f32, of e in f64: scores carry this factor.
template <class T>
inline constexpr T kUnit = sizeof(T) == 4 ? T(1.4426950408889634) : T(1);
template <class T>
inline constexpr T kMinusInfinity = -static_cast<T>(__builtin_inf());

// Keys that a row, or some row of a set, may see: [sink0, sink1) and [main0, main1), the first before the second.
struct Keys {
  int64_t sink0 = 0, sink1 = 0, main0 = 0, main1 = 0;
  bool has_sinks() const { return sink0 < sink1; }
  bool none() const { return main0 >= main1; }
};

// The place of a token in its stream.
template <class T>
inline int64_t place_of(const AttentionArgs<T>& a, int64_t j) {
  return a.clean > 0 && j >= a.clean ? j - a.clean : j;
}

// What a noisy token sees: clean keys of the blocks before its own, and noisy ones of that.
template <class T>
inline Keys noisy_keys(const AttentionArgs<T>& a, int64_t row, int64_t first, int64_t last) {
  const int64_t at = row - a.clean, begin = at / a.block * a.block;
  int64_t from = larger(first - a.clean, int64_t{0}), end = smaller(begin + a.block, last - a.clean);
  if (a.window > 0) {
    from = larger(from, at - a.window + 1);
    end = smaller(end, at + a.window);
  }
  return {from, larger(from, begin), a.clean + larger(begin, from), a.clean + end};
}

template <class T>
inline Keys visible_keys(const AttentionArgs<T>& a, int64_t row) {
  const int64_t first = a.first ? a.first[row] : 0, last = a.last ? smaller(a.last[row], a.k.rows) : a.k.rows;
  if (a.clean > 0 && row >= a.clean) return noisy_keys(a, row, first, last);
  const int64_t at = row + a.q_offset;
  int64_t end = a.causal ? smaller(last, larger(at + 1, a.prefix)) : last;
  if (a.block > 0) end = smaller(end, ((at + a.gap) / a.block + 1) * a.block - a.gap);
  if (a.clean > 0) end = smaller(end, a.clean);
  Keys s;
  s.sink0 = first;
  s.sink1 = smaller(first + a.sinks, end);
  s.main0 = a.window > 0 ? larger(first, at - a.window + 1) : first;
  s.main1 = a.window > 0 ? smaller(end, at + a.window) : end;
  if (a.gap > 0) {  // keys before the gap: all of them sinks
    s.sink1 = larger(s.sink1, smaller(a.sinks, a.causal ? smaller(last, at + a.gap + 1) : last));
    s.main0 = larger(s.main0, a.sinks);
  }
  if (s.none()) {
    s.main0 = s.sink0;
    s.main1 = s.sink1;
    s.sink1 = s.sink0;
  } else if (s.has_sinks() && s.sink1 >= s.main0) {
    s.main0 = s.sink0;
    s.main1 = larger(s.main1, s.sink1);
    s.sink1 = s.sink0;
  }
  return s;
}

// A pair of ranges that holds what rows [from, to) see. Without documents and noisy tokens both ends only grow from row
// to row, so the first and last row tell all.
template <class T>
inline Keys visible_keys(const AttentionArgs<T>& a, int64_t from, int64_t to) {
  const int64_t step = a.first || a.last || a.clean > 0 ? 1 : larger(to - from - 1, int64_t{1});
  Keys all, sinks;
  for (int64_t r = from; r < to; r += step) {
    const Keys s = visible_keys(a, r);
    if (s.none()) continue;
    all.main0 = all.none() ? s.main0 : smaller(all.main0, s.main0);
    all.main1 = larger(all.main1, s.main1);
    if (!s.has_sinks() || s.sink0 >= all.main0) continue;
    sinks.sink0 = sinks.has_sinks() ? smaller(sinks.sink0, s.sink0) : s.sink0;
    sinks.sink1 = larger(sinks.sink1, smaller(s.sink1, all.main0));
  }
  all.sink0 = sinks.sink0;
  all.sink1 = smaller(sinks.sink1, all.main0);
  return all;
}

// Whole panels in a row: `slot` counts panels of scores, `panel` panels of keys; `keys` from its start are wanted.
struct Run {
  int64_t slot, panel, keys;
};
struct Runs {
  Run run[4];
  int count = 0;
  void add(int64_t slot, int64_t panel, int64_t keys) {
    if (keys > 0) run[count++] = {slot, panel, keys};
  }
  // How many of the keys of the panel at this slot are wanted; 0: the panel is not among them.
  int64_t keys_at(int64_t slot, int64_t width) const {
    for (int i = 0; i < count; ++i) {
      const int64_t left = run[i].keys - (slot - run[i].slot) * width;
      if (slot >= run[i].slot && left > 0) return smaller(left, width);
    }
    return 0;
  }
};

// The panels of a strip, and those of a part of its rows among them.
template <class T>
inline Runs strip_runs(const Keys& s) {
  constexpr int64_t w = kTileCols<T>;
  Runs runs;
  if (s.none()) return runs;
  int64_t slots = 0;
  const int64_t main = s.main0 / w;
  if (s.has_sinks() && s.sink0 / w < main) {
    const int64_t from = s.sink0 / w, to = smaller((s.sink1 + w - 1) / w, main);
    runs.add(0, from, smaller(s.sink1, to * w) - from * w);
    slots = to - from;
  }
  runs.add(slots, main, s.main1 - main * w);
  return runs;
}
template <class T>
inline Runs part_runs(const Runs& strip, const Keys& part) {
  constexpr int64_t w = kTileCols<T>;
  const Runs own = strip_runs<T>(part);
  Runs runs;
  for (int i = 0; i < own.count; ++i)
    for (int j = 0; j < strip.count; ++j) {
      const Run &o = own.run[i], &s = strip.run[j];
      const int64_t from = larger(o.panel, s.panel);
      const int64_t end = smaller(o.panel * w + o.keys, (s.panel + (s.keys + w - 1) / w) * w);
      runs.add(s.slot + from - s.panel, from, end - from * w);
    }
  return runs;
}

// e^(x / kUnit) for x <= a little above 0, 0 for very negative x and -inf.
[[gnu::always_inline]] inline Vec<float> exp_lanes(Vec<float> x) {
  typedef uint32_t Bits __attribute__((vector_size(EFFLLM_VECTOR_BYTES)));
  const Vec<float> low = broadcast(-127.f);  // 2^n with n = -127 has no exponent bits: zero
  x = x > low ? x : low;
  const Vec<float> shifted = x + 12582912.f, n = shifted - 12582912.f, f = x - n;  // n: nearest integer, in low bits
  const Vec<float> p = polynomial(f, broadcast(1.5403530e-4f), 1.3333558e-3f, 9.6181291e-3f, 5.5504109e-2f,
                                  2.4022651e-1f, 6.9314718e-1f, 1.f);
  return p * (Vec<float>)(((Bits)shifted + 127u) << 23);
}
[[gnu::always_inline]] inline Vec<double> exp_lanes(Vec<double> x) {
  for (int64_t i = 0; i < kLanes<double>; ++i) x[i] = __builtin_exp(x[i]);
  return x;
}

template <class T>
struct IndexOf {
  using type = int32_t;
};
template <>
struct IndexOf<double> {
  using type = int64_t;
};

// Which of the keys from `key` on, one a lane, are visible.
template <class T>
[[gnu::always_inline]] inline bool sees_all(const Keys& s, int64_t key) {
  return (key >= s.main0 && key + kLanes<T> <= s.main1) || (key >= s.sink0 && key + kLanes<T> <= s.sink1);
}
template <class T>
[[gnu::always_inline]] inline Vec<T> hide(const Keys& s, int64_t key, Vec<T> x, T hidden) {
  using Lanes = decltype(x < x);
  using Index = typename IndexOf<T>::type;
  Lanes lane{};
  for (int64_t i = 0; i < kLanes<T>; ++i) lane[i] = static_cast<Index>(i);
  const auto place = [&](int64_t j) {  // of key j among the lanes
    return Lanes{} + static_cast<Index>(j <= key ? 0 : smaller(j - key, kLanes<T>));
  };
  const Lanes seen =
      ((lane >= place(s.main0)) & (lane < place(s.main1))) | ((lane >= place(s.sink0)) & (lane < place(s.sink1)));
  return seen ? x : broadcast(hidden);
}

// slope * |distance| of the keys from `key` on to this row.
template <class T>
[[gnu::always_inline]] inline Vec<T> alibi_lanes(const AttentionArgs<T>& a, int64_t row, int64_t key, T slope) {
  Vec<T> x{};
  for (int64_t i = 0; i < kLanes<T>; ++i) {
    const int64_t j = key + i, d = place_of(a, row) + a.q_offset - place_of(a, j) + (j < a.sinks ? a.gap : 0);
    x[i] = slope * static_cast<T>(d < 0 ? -d : d);
  }
  return x;
}

// Factors of dropout, 0 or drop_scale, of the keys of one panel, from the counters that AttentionArgs states.
template <class T>
inline void drop_factors(const AttentionArgs<T>& a, int64_t row, int64_t panel, T* to) {
  constexpr int64_t n = kTileCols<T> < 8 ? 2 : kTileCols<T> / 4;
  uint32_t words[4 * n];
  philox_words<n>(static_cast<uint32_t>(panel * (kTileCols<T> / 4)), static_cast<uint32_t>(row + a.q_offset), a.drop_c2,
                  a.drop_c3, a.drop_key0, a.drop_key1, words);
  const T kept = static_cast<T>(a.drop_scale);
  const uint32_t below = a.drop_below;
#pragma omp simd
  for (int64_t i = 0; i < kTileCols<T>; ++i) to[i] = words[i] >= below ? kept : T(0);
}

// Sizes in panels, and the packing of all keys that some query sees.
template <class T>
struct Panels {
  static constexpr int64_t w = kTileCols<T>;
  static int64_t of(int64_t n) { return (n + w - 1) / w; }
  // K^T: [panel][dk][w];  rows of V: [column panel][panel * w + key][w], zero beyond the last key.
  static void pack_keys(View<const T> k, const Runs& runs, T* to) {
    for (int i = 0; i < runs.count; ++i)
      for (int64_t p = runs.run[i].panel, left = runs.run[i].keys; left > 0; ++p, left -= w)
        pack_transposed(k.row(p * w), k.stride, smaller(w, k.rows - p * w), k.cols, to + p * w * k.cols, w);
  }
  static void pack_values(View<const T> v, const Runs& runs, T* to) {
    const int64_t height = of(v.rows) * w;
    for (int64_t c = 0; c < v.cols; c += w, to += height * w)
      for (int i = 0; i < runs.count; ++i) {
        const int64_t from = runs.run[i].panel * w, end = of(from + runs.run[i].keys) * w;
        const int64_t rows = smaller(end, v.rows) - from;
        pack_rows(v.row(from) + c, v.stride, rows, smaller(w, v.cols - c), to + from * w, w);
        for (int64_t x = (from + rows) * w; x < end * w; ++x) to[x] = 0;
      }
  }
};

template <class T>
inline int64_t strip_of(int64_t strip) {
  return strip < 1 ? 1 : smaller(strip, kMostStrip);
}

template <class T>
void attention_backward(const AttentionArgs<T>& a, const AttentionBackwardArgs<T>& g) noexcept;

}  // namespace effllm::EFFLLM_ISA
