// Products of few rows with one weight, again and again: the weight is laid out once in panels that are read from front
// to back, block of k by block of k. An entry's sum runs over k in one order, whatever rows stand beside it.
#include "kernels/dense.h"
#include "kernels/isa/tile.h"

namespace effllm::EFFLLM_ISA {
namespace {

constexpr int64_t kDepth = kPackedDepth, kGroup = 32;  // rows of A that share a reading of B

template <class T>
int64_t packed_size(int64_t k, int64_t n) noexcept {
  return k * ((n + kTileCols<T> - 1) / kTileCols<T> * kTileCols<T>);
}

template <class T>
void pack(bool transposed, View<const T> w, T* to) noexcept {
  constexpr int64_t width = kTileCols<T>;
  const int64_t depth = transposed ? w.cols : w.rows, n = transposed ? w.rows : w.cols;
  for (int64_t k0 = 0; k0 < depth; k0 += kDepth) {
    const int64_t k = smaller(kDepth, depth - k0);
    for (int64_t c = 0; c < n; c += width, to += k * width) {
      const int64_t cols = smaller(width, n - c);
      transposed ? pack_transposed(w.row(c) + k0, w.stride, cols, k, to, width)
                 : pack_rows(w.row(k0) + c, w.stride, k, cols, to, width);
    }
  }
}

template <class T>
void multiply_group(View<const T> a, const T* b, View<T> c, bool add) {
  constexpr int64_t width = kTileCols<T>, pitch = kPackedPitch<T>;
  alignas(64) T rows[kGroup * pitch];
  const Parts parts(a.rows, kTileRows);
  for (int64_t k0 = 0; k0 < a.cols; k0 += kDepth) {
    const int64_t k = smaller(kDepth, a.cols - k0);
    for (int64_t r = 0; r < a.rows; ++r) {
      const T* from = a.row(r) + k0;
#pragma omp simd
      for (int64_t x = 0; x < k; ++x) rows[r * pitch + x] = from[x];
    }
    for (int64_t col = 0; col < c.cols; col += width, b += k * width)
      for (int64_t i = 0; i < parts.count; ++i)
        run_tile<kPackedPitch<T>>(parts.size(i), smaller(width, c.cols - col),
                                  Tile<T>{k, rows + parts.from(i) * pitch, 1, k, 0, b, width,
                                          c.row(parts.from(i)) + col, c.stride, add || k0 > 0});
  }
}

template <class T>
void multiply_packed(View<const T> a, const T* b, View<T> c, bool add) noexcept {
  for (int64_t r = 0; r < a.rows; r += kGroup) {
    const int64_t n = smaller(kGroup, a.rows - r);
    multiply_group(a.part(r, n), b, c.part(r, n), add);
  }
}

}  // namespace

void fill_packed() {
  EFFLLM_SET(packed_size, packed_size);
  EFFLLM_SET(pack, pack);
  EFFLLM_SET(multiply_packed, multiply_packed);
}

}  // namespace effllm::EFFLLM_ISA
