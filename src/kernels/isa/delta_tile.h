// What the kernels of the delta rule share: tiles of up to two tokens, decays folded out of the inner loop, and panels
// of columns of a state. A state S is kept as M with S_t = p_t M_t, p the running product of decays. Where p would
// become too small to divide by, M takes it up and p begins at 1 again: a is only multiplied by, so any decay is exact,
// 0 among them. Which tokens share a tile follows from their own decays and earlier ones, and no token's arithmetic
// depends on whether another follows in its tile.
#pragma once
#include "kernels/isa/simd.h"

namespace effllm::EFFLLM_ISA {
namespace {

constexpr int kWidest = kVectorRegisters >= 32 ? 4 : 2;  // vectors in a row of a panel

// Far from overflow, and its inverse times any sensible number too.
template <class T>
constexpr T kSmallest = sizeof(T) == 4 ? T(1e-14) : T(1e-100);

template <class T>
[[gnu::always_inline]] inline T sum_lanes(Vec<T> v) {
  using Index = decltype(v < v);
#pragma GCC unroll 4
  for (int64_t n = kLanes<T> / 2; n > 0; n /= 2) {
    Index other;
#pragma GCC unroll 16
    for (int64_t l = 0; l < kLanes<T>; ++l) other[l] = (l + n) % kLanes<T>;
    v += __builtin_shuffle(v, other);
  }
  return v[0];
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
    for (int64_t t = 0; t < steps; ++t) {
      const bool joins = enter[t] < 0;
      const int64_t last = joins ? t - 1 : t;
      const T *xt = x.row(t), *yt = y.row(t), *kt = k.row(t), *yl = y.row(last), *kl = k.row(last);
      Vec<T> s[3] = {};
      for (int64_t i = 0; i < whole; i += kLanes<T>) {
        const Vec<T> xi = load(xt + i);
        s[0] += xi * load(yt + i);
        s[1] += xi * load(yl + i);
        s[2] += load(kt + i) * load(kl + i);
      }
      T sum[3] = {sum_lanes<T>(s[0]), sum_lanes<T>(s[1]), sum_lanes<T>(s[2])};
      for (int64_t i = whole; i < n; ++i) {
        sum[0] += xt[i] * yt[i];
        sum[1] += xt[i] * yl[i];
        sum[2] += kt[i] * kl[i];
      }
      own[t] = sum[0];
      cross[t] = sum[1];
      before[t] = sum[2];
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
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) {
      s[j] = load(m + j * kLanes<T>);
      if constexpr (kOwed > 0) s[j] += c0[i] * d[0][j];
      if constexpr (kOwed > 1) s[j] += c1[i] * d[1][j];
      if constexpr (kOwed > 2) s[j] += c2[i] * d[2][j];
      if constexpr (kOwed > 3) s[j] += c3[i] * d[3][j];
      if constexpr (kOwed > 0) store(m + j * kLanes<T>, s[j]);
    }
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) {
      if constexpr (kReads > 0) r[0][j] += x0[i] * s[j];
      if constexpr (kReads > 1) r[1][j] += x1[i] * s[j];
      if constexpr (kReads > 2) r[2][j] += x2[i] * s[j];
      if constexpr (kReads > 3) r[3][j] += x3[i] * s[j];
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

  Vec<T> read(const T* row, int j) const {
    if (width == kWidth) return load(row + column + j * kLane);
    Vec<T> v{};
    for (int64_t c = j * kLane; c < width && c < (j + 1) * kLane; ++c) v[c - j * kLane] = row[column + c];
    return v;
  }
  void write(T* row, int j, Vec<T> v) const {
    if (width == kWidth) return store(row + column + j * kLane, v);
    for (int64_t c = j * kLane; c < width && c < (j + 1) * kLane; ++c) row[column + c] = v[c - j * kLane];
  }
  void multiply(T factor) const {
    if (factor == T(1)) return;
    for (int64_t i = 0; i < rows; ++i)
      for (int j = 0; j < kVectors; ++j)
        store(m + i * m_stride + j * kLane, load(m + i * m_stride + j * kLane) * factor);
  }
};

// f(panel) for one panel, which is worked on in place where its rows are whole vectors one after another, or where the
// steps are too few to pay for a packed copy.
template <int kVectors, class T, class F>
void with_panel(T* state, int64_t rows, int64_t columns, int64_t column, int64_t steps, T* packed, const F& f) {
  using P = Panel<T, kVectors>;
  constexpr int64_t kWorthACopy = 16;
  const int64_t width = smaller(P::kWidth, columns - column);
  if (width == P::kWidth && (columns == width || steps < kWorthACopy)) {
    f(P{rows, column, width, state + column, columns});
    return;
  }
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t c = 0; c < P::kWidth; ++c)
      packed[i * P::kWidth + c] = c < width ? state[i * columns + column + c] : T(0);
  f(P{rows, column, width, packed, P::kWidth});
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t c = 0; c < width; ++c) state[i * columns + column + c] = packed[i * P::kWidth + c];
}

template <class T, class F>
void for_panels(T* state, int64_t rows, int64_t columns, int64_t steps, T* packed, const F& f) {
  for (int64_t column = 0; column < columns;) {
    const int64_t left = columns - column;
    const int vectors = left > 2 * kLanes<T> ? kWidest : left > kLanes<T> ? 2 : 1;
    if (vectors == 1)
      with_panel<1>(state, rows, columns, column, steps, packed, f);
    else if (vectors == 2)
      with_panel<2>(state, rows, columns, column, steps, packed, f);
    else
      with_panel<kWidest>(state, rows, columns, column, steps, packed, f);
    column += vectors * kLanes<T>;
  }
}

}  // namespace
}  // namespace effllm::EFFLLM_ISA
