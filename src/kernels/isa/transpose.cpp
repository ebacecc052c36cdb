// A matrix transposed, tile by tile in registers.
#include "kernels/dense.h"
#include "kernels/isa/tile.h"

namespace effllm::EFFLLM_ISA {
namespace {

template <class T>
void transpose_matrix(View<const T> x, View<T> y) noexcept {
  constexpr int64_t n = kLanes<T>;
  int64_t r = 0;
  for (; r + n <= x.rows; r += n) {
    int64_t c = 0;
    for (; c + n <= x.cols; c += n) {
      Vec<T> tile[n];
#pragma GCC unroll 16
      for (int64_t i = 0; i < n; ++i) tile[i] = load(x.row(r + i) + c);
      transpose<T>(tile);
#pragma GCC unroll 16
      for (int64_t i = 0; i < n; ++i) store(y.row(c + i) + r, tile[i]);
    }
    for (; c < x.cols; ++c)
      for (int64_t i = 0; i < n; ++i) y.row(c)[r + i] = x.row(r + i)[c];
  }
  for (; r < x.rows; ++r)
    for (int64_t c = 0; c < x.cols; ++c) y.row(c)[r] = x.row(r)[c];
}

}  // namespace

void fill_transpose() { EFFLLM_SET(transpose, transpose_matrix); }

}  // namespace effllm::EFFLLM_ISA
