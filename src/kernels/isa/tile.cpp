// The register tiles: one function for each number of rows and vectors, C in registers all the while.
#include "kernels/isa/tile.h"

namespace effllm::EFFLLM_ISA {
namespace {

template <class T, int64_t kRowStride, int kRows, int kVecs>
void multiply(const Tile<T>& t) noexcept {
  Vec<T> sum[kRows][kVecs] = {};
  const T* b = t.b;
  const T* block = t.a;
  for (int64_t left = t.k; left > 0; left -= t.a_span, block += t.a_jump) {
    const T* a = block;
    for (int64_t x = smaller(left, t.a_span); x > 0; --x, a += t.a_step, b += t.ldb) {
      Vec<T> y[kVecs];
#pragma GCC unroll 2
      for (int v = 0; v < kVecs; ++v) y[v] = load(b + v * kLanes<T>);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 2
        for (int v = 0; v < kVecs; ++v) sum[r][v] = mul_add(a[r * kRowStride], y[v], sum[r][v]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < kVecs; ++v) {
      T* c = t.c + r * t.ldc + v * kLanes<T>;
      store(c, t.add ? load(c) + sum[r][v] : sum[r][v]);
    }
}

template <class T, int64_t kRowStride, class Rows = std::make_integer_sequence<int, kTileRows>>
struct TileKernels;
template <class T, int64_t kRowStride, int... kRow>
struct TileKernels<T, kRowStride, std::integer_sequence<int, kRow...>> {
  static constexpr void (*kTable[][2])(const Tile<T>&) noexcept = {
      {multiply<T, kRowStride, kRow + 1, 1>, multiply<T, kRowStride, kRow + 1, 2>}...};
};

}  // namespace

template <int64_t kRowStride, class T>
void multiply_tile(int64_t rows, int vecs, const Tile<T>& t) noexcept {
  TileKernels<T, kRowStride>::kTable[rows - 1][vecs - 1](t);
}
template void multiply_tile<1>(int64_t, int, const Tile<float>&) noexcept;
template void multiply_tile<1>(int64_t, int, const Tile<double>&) noexcept;
template void multiply_tile<kTileCols<float>>(int64_t, int, const Tile<float>&) noexcept;
template void multiply_tile<kTileCols<double>>(int64_t, int, const Tile<double>&) noexcept;
template void multiply_tile<kPackedPitch<float>>(int64_t, int, const Tile<float>&) noexcept;
template void multiply_tile<kPackedPitch<double>>(int64_t, int, const Tile<double>&) noexcept;

}  // namespace effllm::EFFLLM_ISA
