// Softmax attention of one head, a few rows at a time against the keys that they can see: scores, an exact two-pass
// softmax, the product with the values. No buffer has more than a strip of rows.
#include "kernels/isa/attention.h"

namespace effllm::EFFLLM_ISA {
namespace {

constexpr int64_t kFewQueries = 4;  // fewer than these: packing keys and values does not pay

template <class T>
struct Rows {
  int64_t from, count;  // rows of a register tile
  Keys sees[kTileRows];
  T shift[kRowPitch<T>], factor[kRowPitch<T>];  // the largest score; what the row of o is multiplied by
};

// Adds ALiBi, hides keys, finds each row's maximum; then exponentials in place and their sums.
template <class T>
void softmax_rows(const AttentionArgs<T>& a, const Runs& runs, Rows<T>& rows, T* scores) {
  constexpr int64_t w = kTileCols<T>, n = kLanes<T>;
  const int64_t pitch = rows.count * w;
  const T slope = static_cast<T>(a.alibi_slope) * kUnit<T>;
  Vec<T> folded[kRowPitch<T>];
  for (int64_t r = 0; r < rows.count; ++r) {
    const Keys& sees = rows.sees[r];
    Vec<T> most = broadcast(kMinusInfinity<T>);
    for (int i = 0; i < runs.count; ++i) {
      const Run& run = runs.run[i];
      T* s = scores + run.slot * pitch + r * w;
      for (int64_t j = 0; j < run.keys; j += w, s += pitch)
        for (int64_t v = 0; v < w && j + v < run.keys; v += n) {
          const int64_t key = run.panel * w + j + v;
          Vec<T> x = load(s + v);
          const bool clear = sees_all<T>(sees, key);
          if (slope != 0) x -= alibi_lanes(a, rows.from + r, key, slope);
          if (!clear) x = hide(sees, key, x, kMinusInfinity<T>);
          if (slope != 0 || !clear) store(s + v, x);
          most = x > most ? x : most;
        }
    }
    folded[r] = most;
  }
  const auto fold = [&](T* to, auto f) {
    for (int64_t r = 0; r < rows.count; r += n) {
      Vec<T> x[n];
      for (int64_t i = 0; i < n; ++i) x[i] = r + i < rows.count ? folded[r + i] : Vec<T>{};
      store(to + r, fold_lanes<T>(x, f));
    }
  };
  fold(rows.shift, [](Vec<T> x, Vec<T> y) { return x > y ? x : y; });
  for (int64_t r = 0; r < rows.count; ++r) {
    const T shift = rows.shift[r] == kMinusInfinity<T> ? T(0) : rows.shift[r];  // a row that sees nothing: all zero
    Vec<T> sum = {};
    for (int i = 0; i < runs.count; ++i) {
      const Run& run = runs.run[i];
      T* s = scores + run.slot * pitch + r * w;
      for (int64_t j = 0; j < run.keys; j += w, s += pitch)
        for (int64_t v = 0; v < w && j + v < run.keys; v += n) {
          const Vec<T> e = exp_lanes(load(s + v) - shift);
          sum += e;
          store(s + v, e);
        }
    }
    folded[r] = sum;
  }
  fold(rows.factor, [](Vec<T> x, Vec<T> y) { return x + y; });
  for (int64_t r = 0; r < rows.count; ++r) {
    const T sum = rows.factor[r];
    if (a.lse) a.lse[rows.from + r] = sum > 0 ? rows.shift[r] / kUnit<T> + fast_log(sum) : kMinusInfinity<T>;
    rows.factor[r] = sum > 0 ? T(1) / sum : T(0);
  }
}

template <class T>
void drop_rows(const AttentionArgs<T>& a, const Runs& runs, const Rows<T>& rows, T* scores) {
  constexpr int64_t w = kTileCols<T>;
  T keep[w];
  for (int64_t r = 0; r < rows.count; ++r)
    for (int i = 0; i < runs.count; ++i)
      for (int64_t p = 0; p * w < runs.run[i].keys; ++p) {
        drop_factors(a, rows.from + r, runs.run[i].panel + p, keep);
        T* s = scores + ((runs.run[i].slot + p) * rows.count + r) * w;
        const int64_t vecs = smaller(w, runs.run[i].keys - p * w);
        for (int64_t v = 0; v < vecs; v += kLanes<T>) store(s + v, load(s + v) * load(keep + v));
      }
}

// Rows [from, from + count) against packed keys and values.
template <class T>
void attend_rows(const AttentionArgs<T>& a, int64_t from, int64_t count, const T* keys, const T* values, T* queries,
                 T* scores) {
  constexpr int64_t w = kTileCols<T>;
  const int64_t dk = a.q.cols, dv = a.v.cols, pitch = count * w, height = Panels<T>::of(a.k.rows) * w;
  Rows<T> rows{from, count, {}, {}, {}};
  for (int64_t r = 0; r < count; ++r) rows.sees[r] = visible_keys(a, from + r);
  const Runs runs = strip_runs<T>(visible_keys(a, from, from + count));
  pack_transposed(a.q.row(from), a.q.stride, count, dk, queries, kRowPitch<T>, static_cast<T>(a.scale) * kUnit<T>);
  for (int i = 0; i < runs.count; ++i) {
    const Run& run = runs.run[i];
    for (int64_t p = 0; p * w < run.keys; ++p) {
      const int64_t lanes = run.keys - p * w > kLanes<T> ? w : kLanes<T>;
      run_tile<1>(count, lanes,
                  Tile<T>{dk, queries, kRowPitch<T>, dk, 0, keys + (run.panel + p) * dk * w, w,
                          scores + (run.slot + p) * pitch, w, false});
    }
  }
  softmax_rows(a, runs, rows, scores);
  if (a.drop_below > 0) drop_rows(a, runs, rows, scores);
  for (int64_t c = 0; c < dv; c += w) {
    T* o = a.o.row(from) + c;
    const int64_t cols = smaller(w, dv - c);
    for (int i = 0; i < runs.count; ++i) {
      const Run& run = runs.run[i];
      run_tile<w>(count, cols,
                  Tile<T>{run.keys, scores + run.slot * pitch, 1, w, pitch, values + c * height + run.panel * w * w, w,
                          o, a.o.stride, i > 0});
    }
    for (int64_t r = 0; r < count; ++r)
      for (int64_t x = 0; x < cols; ++x)
        o[r * a.o.stride + x] = runs.count ? o[r * a.o.stride + x] * rows.factor[r] : T(0);
  }
}

// One row against keys and values where they lie.
template <class T>
void attend_row(const AttentionArgs<T>& a, int64_t row, T* scores) {
  constexpr int64_t w = kTileCols<T>, n = kLanes<T>;
  const int64_t dk = a.q.cols, dv = a.v.cols;
  Rows<T> rows{row, 1, {visible_keys(a, row)}, {}, {}};
  const Runs runs = strip_runs<T>(rows.sees[0]);
  const T factor = static_cast<T>(a.scale) * kUnit<T>;
  const T* q = a.q.row(row);
  for (int i = 0; i < runs.count; ++i) {
    const int64_t first = runs.run[i].panel * w;
    for (int64_t j = 0; j < runs.run[i].keys; j += n) {
      const int64_t some = smaller(n, a.k.rows - first - j);
      Vec<T> sum[n] = {};
      for (int64_t x = 0; x < n; ++x) {
        const T* k = a.k.row(first + j + smaller(x, some - 1));
        int64_t c = 0;
        for (; c + n <= dk; c += n) sum[x] = mul_add(load(q + c), load(k + c), sum[x]);
        for (; c < dk; ++c) sum[x][0] = mul_add(q[c], k[c], T(sum[x][0]));
      }
      store<T>(scores + runs.run[i].slot * w + j,
               factor * fold_lanes<T>(sum, [](Vec<T> u, Vec<T> v) { return u + v; }));
    }
  }
  softmax_rows(a, runs, rows, scores);
  if (a.drop_below > 0) drop_rows(a, runs, rows, scores);
  T* o = a.o.row(row);
  for (int64_t c = 0; c < dv; ++c) o[c] = 0;
  for (int i = 0; i < runs.count; ++i) {
    const Run& run = runs.run[i];
    for (int64_t j = 0; j < run.keys; ++j) {
      const T p = scores[run.slot * w + j];
      if (p == 0) continue;  // hidden or dropped
      const T* v = a.v.row(run.panel * w + j);
#pragma omp simd
      for (int64_t c = 0; c < dv; ++c) o[c] = mul_add(p, v[c], o[c]);
    }
  }
  for (int64_t c = 0; c < dv; ++c) o[c] *= rows.factor[0];
}

template <class T>
int64_t scratch(int64_t queries, int64_t keys, int64_t dk, int64_t dv, int64_t strip) noexcept {
  constexpr int64_t w = kTileCols<T>;
  const int64_t panels = Panels<T>::of(keys) + 1, rows = strip_of<T>(smaller(strip, queries)),
                parts = (rows + kTileRows - 1) / kTileRows;
  const int64_t k = panels * w * Panels<T>::of(dk) * w, v = panels * w * Panels<T>::of(dv) * w;
  const int64_t strips = rows * w * (2 * panels + Panels<T>::of(dk) + Panels<T>::of(dv));
  return 2 * (k + v) + strips + kTileRows * w * panels + parts * kRowPitch<T> * (dk + dv) + 2 * panels + rows + w;
}

template <class T>
void attention(const AttentionArgs<T>& a) noexcept {
  constexpr int64_t w = kTileCols<T>;
  const int64_t queries = a.q.rows;
  if (queries < kFewQueries) {
    for (int64_t r = 0; r < queries; ++r) attend_row(a, r, a.scratch);
    return;
  }
  const Runs all = strip_runs<T>(visible_keys(a, 0, queries));
  const int64_t panels = Panels<T>::of(a.k.rows);
  T* const keys = a.scratch;
  T* const values = keys + panels * w * a.q.cols;
  T* const packed = values + panels * w * Panels<T>::of(a.v.cols) * w;
  T* const scores = packed + kRowPitch<T> * a.q.cols;
  Panels<T>::pack_keys(a.k, all, keys);
  Panels<T>::pack_values(a.v, all, values);
  const Parts parts(queries, smaller(kTileRows, strip_of<T>(a.strip)));
  for (int64_t i = 0; i < parts.count; ++i) attend_rows(a, parts.from(i), parts.size(i), keys, values, packed, scores);
}

}  // namespace

void fill_attention() {
  EFFLLM_SET(attention_scratch, scratch);
  EFFLLM_SET(attention, attention);
  EFFLLM_SET(attention_backward, attention_backward);
}

}  // namespace effllm::EFFLLM_ISA
