// What the kernels of the delta rule share: tiles of up to two tokens, decays folded out of the inner loop, and panels
// of columns of a state. A state S is kept as M with S_t = p_t M_t, p the running product of decays. Where p would
// become too small to divide by, M takes it up and p begins at 1 again: a is only multiplied by, so any decay is exact,
// 0 among them. Which tokens share a tile follows from their own decays and earlier ones, and no token's arithmetic
// depends on whether another follows in its tile.
#pragma once
#include "kernels/isa/state_panels.h"
#include "kernels/isa/tile.h"

namespace effllm::EFFLLM_ISA {
namespace {

// Adds the halves of v; sums of both lie side by side, twice.
template <class T>
[[gnu::always_inline]] inline Vec<T> add_halves(Vec<T> v) {
  return zip_low<T>(v, v) + zip_high<T>(v, v);
}
template <class T>
[[gnu::always_inline]] inline T sum_lanes(Vec<T> v) {
#pragma GCC unroll 4
  for (int64_t n = kLanes<T>; n > 1; n /= 2) v = add_halves<T>(v);
  return v[0];
}
// The sums of four vectors, in fewer steps than one by one.
template <class T>
[[gnu::always_inline]] inline void sum_lanes(const Vec<T> (&x)[4], T* sums) {
  constexpr int64_t kLane = kLanes<T>;
  const Vec<T> first = zip_low<T>(x[0], x[1]) + zip_high<T>(x[0], x[1]),
               second = zip_low<T>(x[2], x[3]) + zip_high<T>(x[2], x[3]);
  if constexpr (kLane == 2) {
    for (int i = 0; i < 2; ++i) sums[i] = first[i], sums[2 + i] = second[i];
  } else {
    Vec<T> v = zip_low<T>(first, second) + zip_high<T>(first, second);
#pragma GCC unroll 4
    for (int64_t n = kLane; n > 4; n /= 2) v = add_halves<T>(v);
    sums[0] = v[0];
    sums[2] = v[kLane / 4];
    sums[1] = v[kLane / 2];
    sums[3] = v[kLane / 4 * 3];
  }
}

// Numbers of each token of a pass, computed once for all panels.
template <class T>
struct Plan {
  T* p;                     // [T]
  T* enter;                 // what M takes up before the token, 1 for nothing; negative: it joins the token before it
  T *own, *cross, *before;  // x_t.y_t; of tokens that join: x_t.y_{t-1}, k_t.k_{t-1}

  Plan(T* scratch, int64_t steps)
      : p(scratch),
        enter(scratch + steps),
        own(scratch + 2 * steps),
        cross(scratch + 3 * steps),
        before(scratch + 4 * steps) {}
  int tile(int64_t t, int64_t steps) const { return t + 1 < steps && enter[t + 1] < 0 ? 2 : 1; }

  void fold(const View<const T>& a, int64_t steps) {
    T running = 1;
    for (int64_t t = 0; t < steps; ++t) {
      running = a ? running * *a.row(t) : T(1);
      enter[t] = 1;
      if (!(running >= kSmallest<T>)) {
        enter[t] = running;
        running = 1;
      }
      p[t] = running;
      if (t + 1 == steps) break;
      const T next = a ? running * *a.row(t + 1) : T(1);
      if (!(next >= kSmallest<T>)) continue;
      enter[++t] = -1;
      p[t] = running = next;
    }
  }

  void products(const View<const T>& x, const View<const T>& y, const View<const T>& k, int64_t steps) {
    const int64_t n = x.cols, whole = n - n % kLanes<T>;
    for (int64_t t = 0; t < steps;) {
      const int tokens = tile(t, steps);
      const int64_t next = t + tokens - 1;
      const T *x0 = x.row(t), *y0 = y.row(t), *k0 = k.row(t), *x1 = x.row(next), *y1 = y.row(next), *k1 = k.row(next);
      Vec<T> s[4] = {};
      for (int64_t i = 0; i < whole; i += kLanes<T>) {
        const Vec<T> y0i = load(y0 + i), x1i = load(x1 + i);
        s[0] = mul_add(load(x0 + i), y0i, s[0]);
        s[1] = mul_add(x1i, load(y1 + i), s[1]);
        s[2] = mul_add(x1i, y0i, s[2]);
        s[3] = mul_add(load(k0 + i), load(k1 + i), s[3]);
      }
      T sums[4];
      sum_lanes<T>(s, sums);
      for (int64_t i = whole; i < n; ++i) {
        sums[0] = mul_add(x0[i], y0[i], sums[0]);
        sums[1] = mul_add(x1[i], y1[i], sums[1]);
        sums[2] = mul_add(x1[i], y0[i], sums[2]);
        sums[3] = mul_add(k0[i], k1[i], sums[3]);
      }
      own[next] = sums[1];
      own[t] = sums[0];
      cross[next] = sums[2];
      before[next] = sums[3];
      t += tokens;
    }
  }
};

// One pass over a panel: updates that are owed, then reads. c[w], x[r]: a number for each row.
constexpr int kStreams = 4;
template <class T, int kVectors>
struct Sweep {
  const T *c[kStreams], *x[kStreams];
  Vec<T> d[kStreams][kVectors], r[kStreams][kVectors];
};

// m += sum c d^T over the first kOwed; r = m^T x of the first kReads.
template <int kOwed, int kReads, class T, int kVectors>
[[gnu::noinline]] void sweep(Sweep<T, kVectors>& w, T* m, int64_t m_stride, int64_t rows) {
  const T *c0 = w.c[0], *c1 = w.c[1], *c2 = w.c[2], *c3 = w.c[3];
  const T *x0 = w.x[0], *x1 = w.x[1], *x2 = w.x[2], *x3 = w.x[3];
  Vec<T> d[kOwed + 1][kVectors], r[kReads + 1][kVectors];
#pragma GCC unroll 4
  for (int u = 0; u < kOwed; ++u)
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) d[u][j] = w.d[u][j];
#pragma GCC unroll 4
  for (int u = 0; u < kReads; ++u)
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) r[u][j] = Vec<T>{};
  for (int64_t i = 0; i < rows; ++i, m += m_stride) {
    Vec<T> s[kVectors];
    T c[kStreams], x[kStreams];  // read once: the compiler can't know that the state is not among them
    if constexpr (kOwed > 0) c[0] = c0[i];
    if constexpr (kOwed > 1) c[1] = c1[i];
    if constexpr (kOwed > 2) c[2] = c2[i];
    if constexpr (kOwed > 3) c[3] = c3[i];
    if constexpr (kReads > 0) x[0] = x0[i];
    if constexpr (kReads > 1) x[1] = x1[i];
    if constexpr (kReads > 2) x[2] = x2[i];
    if constexpr (kReads > 3) x[3] = x3[i];
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) {
      s[j] = load(m + j * kLanes<T>);
#pragma GCC unroll 4
      for (int u = 0; u < kOwed; ++u) s[j] = mul_add(c[u], d[u][j], s[j]);
    }
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) {
#pragma GCC unroll 4
      for (int u = 0; u < kReads; ++u) r[u][j] = mul_add(x[u], s[j], r[u][j]);
      if constexpr (kOwed > 0) store(m + j * kLanes<T>, s[j]);
    }
  }
#pragma GCC unroll 4
  for (int u = 0; u < kReads; ++u)
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) w.r[u][j] = r[u][j];
}

// Columns [column, column + width) of a state. Where width is less than kVectors vectors the panel is padded.
template <class T, int kVectors>
struct Panel {
  static constexpr int64_t kLane = kLanes<T>, kWidth = kVectors * kLane;
  int64_t rows, column, width;
  T* m;
  int64_t m_stride;

  bool whole() const { return width == kWidth; }
  // Vector j of a row; kWhole: what whole() says.
  template <bool kWhole>
  [[gnu::always_inline]] Vec<T> read(const T* row, int j) const {
    return kWhole ? load(row + column + j * kLane) : read_part(row, j);
  }
  template <bool kWhole>
  [[gnu::always_inline]] void write(T* row, int j, Vec<T> v) const {
    kWhole ? store(row + column + j * kLane, v) : write_part(row, j, v);
  }
  Vec<T> read(const T* row, int j) const { return whole() ? read<true>(row, j) : read_part(row, j); }
  void write(T* row, int j, Vec<T> v) const { whole() ? write<true>(row, j, v) : write_part(row, j, v); }
  [[gnu::noinline]] Vec<T> read_part(const T* row, int j) const {
    Vec<T> v{};
    for (int64_t c = j * kLane; c < width && c < (j + 1) * kLane; ++c) v[c - j * kLane] = row[column + c];
    return v;
  }
  [[gnu::noinline]] void write_part(T* row, int j, Vec<T> v) const {
    for (int64_t c = j * kLane; c < width && c < (j + 1) * kLane; ++c) row[column + c] = v[c - j * kLane];
  }
  void multiply(T factor) const {
    if (factor == T(1)) return;
    for (int64_t i = 0; i < rows; ++i)
      for (int j = 0; j < kVectors; ++j)
        store(m + i * m_stride + j * kLane, load(m + i * m_stride + j * kLane) * factor);
  }
};

// f(panel) for all columns of a state, at `packed` where they are copied.
template <class T, class F>
void for_panels(T* state, int64_t rows, int64_t columns, int64_t steps, T* packed, const F& f) {
  for_panel_columns<T>(columns, [&]<int kVectors>(int64_t column) {
    using P = Panel<T, kVectors>;
    const int64_t width = smaller(P::kWidth, columns - column);
    with_columns<P::kWidth>(state + column, rows, columns, width, steps, packed, [&](T* m, int64_t stride) {
      f(P{rows, column, width, m, stride});
    });
  });
}

}  // namespace
}  // namespace effllm::EFFLLM_ISA
