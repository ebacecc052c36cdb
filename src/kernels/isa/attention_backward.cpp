// Backward of softmax attention of one head. A strip of rows at a time: probabilities again from scores and lse, then
// dP = dO V^T, dS = scale P (dP - rowsum(dO o)), dQ = dS K; the strip's part of dK = dS^T Q and dV = P^T dO adds to the
// destination, strips in order.
#include "kernels/isa/attention.h"
#include "kernels/isa/sums.h"

namespace effllm::EFFLLM_ISA {
namespace {

// Where everything lies in the caller's scratch. Operands are packed twice: as columns for the tiles that multiply by
// them, as rows for those that multiply them.
template <class T>
struct Work {
  static constexpr int64_t w = kTileCols<T>;
  T *k_columns, *k_rows, *v_columns;           // of all keys
  T *q_columns, *q_rows, *d_columns, *d_rows;  // of the strip: q * scale * unit; q; dO
  T *p, *ds;                                   // [slot][row][w]
  T *dot, *touched;                            // [rows] rowsum(dO o); [panel] non-zero: dk and dv hold something

  Work(const AttentionArgs<T>& a, int64_t strip) {
    T* next = a.scratch;
    const auto take = [&](int64_t n) {
      T* here = next;
      next += n;
      return here;
    };
    const int64_t dk = a.q.cols, dv = a.v.cols, panels = Panels<T>::of(a.k.rows);
    const int64_t parts = (strip + kTileRows - 1) / kTileRows;
    k_columns = take(panels * w * dk);
    k_rows = take(panels * w * Panels<T>::of(dk) * w);
    v_columns = take(panels * w * dv);
    q_columns = take(parts * kRowPitch<T> * dk);
    d_columns = take(parts * kRowPitch<T> * dv);
    q_rows = take(strip * Panels<T>::of(dk) * w);
    d_rows = take(strip * Panels<T>::of(dv) * w);
    p = take((panels + 1) * strip * w);
    ds = take((panels + 1) * strip * w);
    dot = take(strip);
    touched = take(panels);
  }
};

template <class T>
struct Strip {
  int64_t from, count;
  Parts parts;
  Runs runs;
  Runs part_runs[(kMostStrip + kTileRows - 1) / kTileRows];
};

// Scores and dP of one row become P (dropped out) and dS.
template <class T>
void differentiate_row(const AttentionArgs<T>& a, const Runs& runs, int64_t row, T dot, int64_t pitch, T* p, T* ds) {
  constexpr int64_t w = kTileCols<T>, n = kLanes<T>;
  const Keys sees = visible_keys(a, row);
  const T slope = static_cast<T>(a.alibi_slope) * kUnit<T>, scale = static_cast<T>(a.scale);
  const T shift = a.lse[row] == kMinusInfinity<T> ? T(0) : a.lse[row] * kUnit<T>;
  T keep[w];
  for (int i = 0; i < runs.count; ++i) {
    const Run& run = runs.run[i];
    T *s = p + run.slot * pitch, *g = ds + run.slot * pitch;
    for (int64_t j = 0; j < run.keys; j += w, s += pitch, g += pitch) {
      if (a.drop_below > 0) drop_factors(a, row, run.panel + j / w, keep);
      for (int64_t v = 0; v < w; v += n) {
        if (j + v >= run.keys) {  // not computed, but read by the products over rows
          store(s + v, Vec<T>{});
          store(g + v, Vec<T>{});
          continue;
        }
        const int64_t key = run.panel * w + j + v;
        Vec<T> x = load(s + v) - shift, d = load(g + v);
        if (slope != 0) x -= alibi_lanes(a, row, key, slope);
        x = exp_lanes(x);
        if (!sees_all<T>(sees, key)) x = hide(sees, key, x, T(0));
        Vec<T> dropped = x;
        if (a.drop_below > 0) {
          const Vec<T> factor = load(keep + v);
          d *= factor;
          dropped *= factor;
        }
        store(s + v, dropped);
        store(g + v, scale * x * (d - dot));
      }
    }
  }
}

// Rows [row, row + count) of the strip: P, dS and dQ.
template <class T>
void differentiate_rows(const AttentionArgs<T>& a, const AttentionBackwardArgs<T>& g, const Work<T>& work,
                        const Strip<T>& strip, int64_t part) {
  constexpr int64_t w = kTileCols<T>;
  const int64_t dk = a.q.cols, dv = a.v.cols, pitch = strip.count * w, height = Panels<T>::of(a.k.rows) * w;
  const int64_t row = strip.parts.from(part), count = strip.parts.size(part), at = strip.from + row;
  const Runs& runs = strip.part_runs[part];
  T* const q = work.q_columns + part * kRowPitch<T> * dk;
  T* const d = work.d_columns + part * kRowPitch<T> * dv;
  pack_transposed(a.q.row(at), a.q.stride, count, dk, q, kRowPitch<T>, static_cast<T>(a.scale) * kUnit<T>);
  pack_transposed(g.d_o.row(at), g.d_o.stride, count, dv, d, kRowPitch<T>);
  for (int i = 0; i < runs.count; ++i) {
    const Run& run = runs.run[i];
    for (int64_t j = 0; j < run.keys; j += w) {
      const int64_t panel = run.panel + j / w, to = (run.slot + j / w) * pitch + row * w;
      const int64_t lanes = run.keys - j > kLanes<T> ? w : kLanes<T>;
      run_tile<1>(count, lanes,
                  Tile<T>{dk, q, kRowPitch<T>, dk, 0, work.k_columns + panel * dk * w, w, work.p + to, w, false});
      run_tile<1>(count, lanes,
                  Tile<T>{dv, d, kRowPitch<T>, dv, 0, work.v_columns + panel * dv * w, w, work.ds + to, w, false});
    }
  }
  for (int64_t r = 0; r < count; ++r)
    differentiate_row(a, runs, at + r, work.dot[row + r], pitch, work.p + (row + r) * w, work.ds + (row + r) * w);
  if (!g.dq) return;
  for (int64_t c = 0; c < dk; c += w) {
    T* const dq = g.dq.row(at) + c;
    const int64_t cols = smaller(w, dk - c);
    for (int i = 0; i < runs.count; ++i) {
      const Run& run = runs.run[i];
      run_tile<w>(count, cols,
                  Tile<T>{run.keys, work.ds + run.slot * pitch + row * w, 1, w, pitch,
                          work.k_rows + c * height + run.panel * w * w, w, dq, g.dq.stride, g.add_q || i > 0});
    }
    for (int64_t r = 0; r < (runs.count || g.add_q ? 0 : count); ++r)
      for (int64_t x = 0; x < cols; ++x) dq[r * g.dq.stride + x] = 0;
  }
}

// The strip's part of dk and dv of the keys of one panel.
template <class T>
void add_to_keys(const AttentionArgs<T>& a, const AttentionBackwardArgs<T>& g, const Work<T>& work,
                 const Strip<T>& strip, int64_t slot, int64_t panel) {
  constexpr int64_t w = kTileCols<T>;
  int64_t from = strip.count, to = 0;  // rows of the parts that computed this panel
  for (int64_t i = 0; i < strip.parts.count; ++i)
    if (strip.part_runs[i].keys_at(slot, w) > 0) {
      from = smaller(from, strip.parts.from(i));
      to = strip.parts.from(i) + strip.parts.size(i);
    }
  if (from >= to) return;
  T *const p = work.p + slot * strip.count * w, *const ds = work.ds + slot * strip.count * w;
  for (int64_t i = 0; i < strip.parts.count; ++i)  // parts between them that did not
    if (strip.parts.from(i) > from && strip.parts.from(i) < to && strip.part_runs[i].keys_at(slot, w) == 0)
      for (int64_t x = 0; x < strip.parts.size(i) * w; ++x)
        p[strip.parts.from(i) * w + x] = ds[strip.parts.from(i) * w + x] = 0;
  const bool touched = work.touched[panel] != 0;
  work.touched[panel] = 1;
  const Parts keys(smaller(w, a.k.rows - panel * w), kTileRows);
  for (int64_t i = 0; i < keys.count; ++i) {
    const int64_t key = keys.from(i), count = keys.size(i), at = panel * w + key;
    int64_t first = from;  // rows before the first of these keys don't see them
    if (a.causal && a.gap == 0 && at >= a.prefix) first = smaller(larger(from, at - a.q_offset - strip.from), to);
    const auto multiply = [&](const T* scores, const T* rows, View<T> d, bool add) {
      for (int64_t c = 0; c < d.cols; c += w)
        run_tile<1>(count, smaller(w, d.cols - c),
                    Tile<T>{to - first, scores + first * w + key, w, to - first, 0, rows + c * strip.count + first * w,
                            w, d.row(at) + c, d.stride, add || touched});
    };
    if (g.dk) multiply(ds, work.q_rows, g.dk, g.add_k);
    if (g.dv) multiply(p, work.d_rows, g.dv, g.add_v);
  }
}

template <class T>
void clear_untouched(const Work<T>& work, View<T> d, bool add) {
  constexpr int64_t w = kTileCols<T>;
  for (int64_t r = 0; r < (d && !add ? d.rows : 0); ++r)
    if (work.touched[r / w] == 0)
      for (int64_t c = 0; c < d.cols; ++c) d.row(r)[c] = 0;
}

}  // namespace

template <class T>
void attention_backward(const AttentionArgs<T>& a, const AttentionBackwardArgs<T>& g) noexcept {
  constexpr int64_t w = kTileCols<T>;
  const int64_t queries = a.q.rows, dk = a.q.cols, dv = a.v.cols, most = strip_of<T>(smaller(a.strip, queries));
  const Work<T> work(a, most);
  const Runs all = strip_runs<T>(visible_keys(a, 0, queries));
  Panels<T>::pack_keys(a.k, all, work.k_columns);
  Panels<T>::pack_values(a.k, all, work.k_rows);
  Panels<T>::pack_keys(a.v, all, work.v_columns);
  for (int64_t i = 0; i < Panels<T>::of(a.k.rows); ++i) work.touched[i] = 0;
  for (int64_t from = 0; from < queries; from += most) {
    const int64_t count = smaller(most, queries - from);
    Strip<T> strip{from, count, Parts(count, kTileRows), strip_runs<T>(visible_keys(a, from, from + count)), {}};
    for (int64_t c = 0; c < dk; c += w)
      pack_rows(a.q.row(from) + c, a.q.stride, count, smaller(w, dk - c), work.q_rows + c * count, w);
    for (int64_t c = 0; c < dv; c += w)
      pack_rows(g.d_o.row(from) + c, g.d_o.stride, count, smaller(w, dv - c), work.d_rows + c * count, w);
    for (int64_t r = 0; r < count; ++r) work.dot[r] = dot(g.d_o.row(from + r), a.o.row(from + r), dv);
    for (int64_t i = 0; i < strip.parts.count; ++i) {
      const int64_t row = from + strip.parts.from(i);
      strip.part_runs[i] = part_runs<T>(strip.runs, visible_keys(a, row, row + strip.parts.size(i)));
      differentiate_rows(a, g, work, strip, i);
    }
    for (int i = 0; i < strip.runs.count; ++i)
      for (int64_t p = 0; p * w < strip.runs.run[i].keys; ++p)
        add_to_keys(a, g, work, strip, strip.runs.run[i].slot + p, strip.runs.run[i].panel + p);
  }
  clear_untouched(work, g.dk, g.add_k);
  clear_untouched(work, g.dv, g.add_v);
}

template void attention_backward(const AttentionArgs<float>&, const AttentionBackwardArgs<float>&) noexcept;
template void attention_backward(const AttentionArgs<double>&, const AttentionBackwardArgs<double>&) noexcept;

}  // namespace effllm::EFFLLM_ISA
