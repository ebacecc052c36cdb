// Dense products. B is packed in blocks that stay in L2, A a few rows at a time into L1, C lives in registers. The sum
// over k of an entry of C runs in one order that its size alone sets.
#include <cstdlib>

#include "kernels/dense.h"
#include "kernels/isa/tile.h"

namespace effllm::EFFLLM_ISA {
namespace {

constexpr int64_t kDepth = 256;      // steps of k in a packed block
constexpr int64_t kPanelSpan = 512;  // columns in a packed block
constexpr int64_t kDotRows = 8;      // rows of A for which packing B^T does not pay

template <class T>
struct Workspace {
  static constexpr int64_t kA = kDepth * kRowPitch<T>, kB = kDepth * kPanelSpan;
  T* memory = static_cast<T*>(std::aligned_alloc(64, static_cast<size_t>(kA + kB) * sizeof(T)));
  Workspace() {
    if (!memory) std::abort();
  }
  ~Workspace() { std::free(memory); }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
};

// C = A B^T by dot products along k: kRows rows of A from `row` on against up to kLanes / kRows rows of B, so that the
// sums of all fold into one vector.
template <class T, int kRows>
void dot_tile(const GemmArgs<T>& g, int64_t row, int64_t col, int64_t cols) {
  constexpr int kCols = kLanes<T> / kRows;
  const T* a = g.a + row * g.lda;
  const T* b[kCols];
  for (int64_t c = 0; c < kCols; ++c) b[c] = g.b + (col + smaller<int64_t>(c, cols - 1)) * g.ldb;
  Vec<T> sum[kLanes<T>] = {};
  int64_t x = 0;
  for (; x + kLanes<T> <= g.k; x += kLanes<T>) {
    Vec<T> y[kRows];
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) y[r] = load(a + r * g.lda + x);
#pragma GCC unroll 16
    for (int c = 0; c < kCols; ++c) {
      const Vec<T> z = load(b[c] + x);
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) sum[r * kCols + c] = mul_add(y[r], z, sum[r * kCols + c]);
    }
  }
  const Vec<T> total = fold_lanes<T>(sum, [](Vec<T> u, Vec<T> v) { return u + v; });
  for (int64_t r = 0; r < kRows; ++r)
    for (int64_t c = 0; c < cols; ++c) {
      T s = total[r * kCols + c];
      for (int64_t i = x; i < g.k; ++i) s = mul_add(a[r * g.lda + i], b[c][i], s);
      T& to = g.c[(row + r) * g.ldc + col + c];
      to = g.add ? to + s : s;
    }
}

template <class T, int kRows>
void multiply_by_dots(const GemmArgs<T>& g, int64_t row) {
  constexpr int64_t kCols = kLanes<T> / kRows;
  for (int64_t c = 0; c < g.n; c += kCols) dot_tile<T, kRows>(g, row, c, smaller(kCols, g.n - c));
}

// Columns [n0, n0 + n) of B, steps [k0, k0 + k), as panels of [k][kTileCols].
template <class T>
void pack_b(const GemmArgs<T>& g, int64_t n0, int64_t n, int64_t k0, int64_t k, T* to) {
  constexpr int64_t w = kTileCols<T>;
  for (int64_t c = 0; c < n; c += w, to += k * w) {
    const int64_t cols = smaller(w, n - c);
    if (g.transpose_b)
      pack_transposed(g.b + (n0 + c) * g.ldb + k0, g.ldb, cols, k, to, w);
    else
      pack_rows(g.b + k0 * g.ldb + n0 + c, g.ldb, k, cols, to, w);
  }
}

template <class T>
void pack_a(const GemmArgs<T>& g, int64_t m0, int64_t m, int64_t k0, int64_t k, T* to) {
  constexpr int64_t w = kRowPitch<T>;
  if (!g.transpose_a)
    pack_transposed(g.a + m0 * g.lda + k0, g.lda, m, k, to, w);
  else  // what follows the rows wanted is never used: whole vectors are copied where they exist
    pack_rows(g.a + k0 * g.lda + m0, g.lda, k, smaller(w, g.m - m0), to, w);
}

template <class T>
void multiply(const GemmArgs<T>& g) noexcept {
  if (g.k == 0) {
    for (int64_t r = 0; r < (g.add ? 0 : g.m); ++r)
      for (int64_t c = 0; c < g.n; ++c) g.c[r * g.ldc + c] = 0;
    return;
  }
  if (g.transpose_b && !g.transpose_a && g.m <= kDotRows) {
    constexpr int kMost = kLanes<T> < 4 ? 2 : 4;
    int64_t r = 0;
    for (; r + kMost <= g.m; r += kMost) multiply_by_dots<T, kMost>(g, r);
    for (; r + 2 <= g.m; r += 2) multiply_by_dots<T, 2>(g, r);
    if (r < g.m) multiply_by_dots<T, 1>(g, r);
    return;
  }
  thread_local Workspace<T> work;
  constexpr int64_t w = kTileCols<T>;
  const Parts rows(g.m, kTileRows), depths(g.k, kDepth);
  const bool direct = !g.transpose_b && rows.count <= 2;  // B is read once or twice: not worth packing
  for (int64_t n0 = 0; n0 < g.n; n0 += kPanelSpan) {
    const int64_t n = smaller(kPanelSpan, g.n - n0), packed_from = direct ? n / w * w : 0;
    for (int64_t d = 0; d < depths.count; ++d) {
      const int64_t k0 = depths.from(d), k = depths.size(d);
      T* const b = work.memory + Workspace<T>::kA;
      pack_b(g, n0 + packed_from, n - packed_from, k0, k, b);
      for (int64_t i = 0; i < rows.count; ++i) {
        const int64_t m0 = rows.from(i), m = rows.size(i);
        pack_a(g, m0, m, k0, k, work.memory);
        for (int64_t c = 0; c < n; c += w) {
          Tile<T> t{k,     work.memory,   kRowPitch<T>, k, 0, b + (c - packed_from) * k, w, g.c + m0 * g.ldc + n0 + c,
                    g.ldc, g.add || d > 0};
          if (c < packed_from) t.b = g.b + k0 * g.ldb + n0 + c, t.ldb = g.ldb;
          run_tile<1>(m, smaller(w, n - c), t);
        }
      }
    }
  }
}

}  // namespace

void fill_gemm() { EFFLLM_SET(gemm, multiply); }

}  // namespace effllm::EFFLLM_ISA
