// The register tile that dense products and attention share, and the packing of its operands.
#pragma once
#include <utility>

#include "kernels/isa/simd.h"

namespace effllm::EFFLLM_ISA {

inline constexpr int64_t kTileRows = kVectorRegisters == 32 ? 14 : 6;  // two accumulators a row, three registers free
template <class T>
inline constexpr int64_t kTileCols = 2 * kLanes<T>;
// Distance of two steps of k in packed rows: kTileRows rounded up to whole vectors.
template <class T>
inline constexpr int64_t kRowPitch = (kTileRows + kLanes<T> - 1) / kLanes<T>* kLanes<T>;

// Steps of k in a block of a packed weight, and the distance of two rows of A there, an odd number of cache lines.
inline constexpr int64_t kPackedDepth = 128;
template <class T>
inline constexpr int64_t kPackedPitch = kPackedDepth + 64 / static_cast<int64_t>(sizeof(T));

// C[rows, cols] (+)= A[rows, k] B[k, cols]. Step x of k reads A at a + x / a_span * a_jump + x % a_span * a_step and B
// at b + x * ldb. Rows of A lie kRowStride apart, a constant of the kernel.
template <class T>
struct Tile {
  int64_t k;
  const T* a;
  int64_t a_step, a_span, a_jump;
  const T* b;
  int64_t ldb;
  T* c;
  int64_t ldc;
  bool add;
};

// The kernels, compiled in tile.cpp for kRowStride 1, kTileCols and kPackedPitch: 1 <= rows <= kTileRows, vecs 1 or 2.
template <int64_t kRowStride, class T>
void multiply_tile(int64_t rows, int vecs, const Tile<T>& t) noexcept;

// The same for 1 <= cols <= kTileCols. B must be readable in whole vectors; C need not be writable beyond `cols`.
template <int64_t kRowStride, class T>
inline void run_tile(int64_t rows, int64_t cols, Tile<T> t) {
  const int vecs = cols > kLanes<T> ? 2 : 1;
  if (cols == vecs * kLanes<T>) return multiply_tile<kRowStride>(rows, vecs, t);
  T edge[kTileRows * kTileCols<T>];
  T* const c = t.c;
  const int64_t ldc = t.ldc;
  const bool add = t.add;
  t.c = edge, t.ldc = kTileCols<T>, t.add = false;
  multiply_tile<kRowStride>(rows, vecs, t);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t i = 0; i < cols; ++i) c[r * ldc + i] = edge[r * kTileCols<T> + i] + (add ? c[r * ldc + i] : T(0));
}

// n items cut into the fewest parts of at most `most`, of sizes that differ by at most one.
struct Parts {
  int64_t count, base, longer;
  Parts(int64_t n, int64_t most)
      : count((n + most - 1) / most), base(count ? n / count : 0), longer(n - base * count) {}
  int64_t from(int64_t i) const { return i * base + smaller(i, longer); }
  int64_t size(int64_t i) const { return base + (i < longer); }
};

// a0 b0 a1 b1 ... of the first (kHigh false) or second halves of a and b.
template <class T, bool kHigh, int... kLane>
[[gnu::always_inline]] inline Vec<T> zip(Vec<T> a, Vec<T> b, std::integer_sequence<int, kLane...>) {
  constexpr int n = sizeof...(kLane);
  return __builtin_shufflevector(a, b, (kLane / 2 + (kHigh ? n / 2 : 0) + kLane % 2 * n)...);
}
template <class T>
[[gnu::always_inline]] inline Vec<T> zip_low(Vec<T> a, Vec<T> b) {
  return zip<T, false>(a, b, std::make_integer_sequence<int, kLanes<T>>());
}
template <class T>
[[gnu::always_inline]] inline Vec<T> zip_high(Vec<T> a, Vec<T> b) {
  return zip<T, true>(a, b, std::make_integer_sequence<int, kLanes<T>>());
}

// Transposes kLanes vectors in place: a perfect shuffle of all halves, log2(kLanes) times.
template <class T>
[[gnu::always_inline]] inline void transpose(Vec<T> (&x)[kLanes<T>]) {
  constexpr int64_t n = kLanes<T>;
#pragma GCC unroll 4
  for (int64_t stage = 1; stage < n; stage *= 2) {
    Vec<T> y[n];
#pragma GCC unroll 8
    for (int64_t i = 0; i < n / 2; ++i) {
      y[2 * i] = zip_low<T>(x[i], x[i + n / 2]);
      y[2 * i + 1] = zip_high<T>(x[i], x[i + n / 2]);
    }
#pragma GCC unroll 16
    for (int64_t i = 0; i < n; ++i) x[i] = y[i];
  }
}

// Lane i of the result folds all lanes of x[i]; x is overwritten.
template <class T, class F>
[[gnu::always_inline]] inline Vec<T> fold_lanes(Vec<T> (&x)[kLanes<T>], F&& f) {
#pragma GCC unroll 4
  for (int64_t half = kLanes<T> / 2; half > 0; half /= 2)
#pragma GCC unroll 8
    for (int64_t i = 0; i < half; ++i) x[i] = f(zip_low<T>(x[i], x[i + half]), zip_high<T>(x[i], x[i + half]));
  return x[0];
}

// to[c, 0:width] = factor * from[0:rows, c] for c < cols, zero beyond `rows`. width: whole vectors.
template <class T>
inline void pack_transposed(const T* from, int64_t ld, int64_t rows, int64_t cols, T* to, int64_t width, T factor = 1) {
  constexpr int64_t n = kLanes<T>;
  for (int64_t r = 0; r < width; r += n) {
    const int64_t some = smaller(n, rows - r);
    int64_t c = 0;
    for (; c + n <= cols; c += n) {
      Vec<T> x[n];
      if (some == n) {
#pragma GCC unroll 16
        for (int64_t i = 0; i < n; ++i) x[i] = load(from + (r + i) * ld + c);
      } else {
#pragma GCC unroll 16
        for (int64_t i = 0; i < n; ++i) x[i] = i < some ? load(from + (r + i) * ld + c) : Vec<T>{};
      }
      transpose<T>(x);
#pragma GCC unroll 16
      for (int64_t i = 0; i < n; ++i) store<T>(to + (c + i) * width + r, factor * x[i]);
    }
    for (; c < cols; ++c)
      for (int64_t i = 0; i < n; ++i) to[c * width + r + i] = i < some ? factor * from[(r + i) * ld + c] : T(0);
  }
}

// to[r, 0:width] = from[r, 0:cols], zero beyond `cols`. width: whole vectors.
template <class T>
inline void pack_rows(const T* from, int64_t ld, int64_t rows, int64_t cols, T* to, int64_t width) {
  if (cols == width) {
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < width; c += kLanes<T>) store(to + r * width + c, load(from + r * ld + c));
    return;
  }
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < width; ++c) to[r * width + c] = c < cols ? from[r * ld + c] : T(0);
}

}  // namespace effllm::EFFLLM_ISA
