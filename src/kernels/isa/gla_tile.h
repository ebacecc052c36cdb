// The inner loop of gated linear attention: up to four tokens sweep over a block of the state in one go, outputs and a
// row of the state in registers. What token u does is the same in sweeps of any length, so its bits don't tell how many
// tokens came after it.
#pragma once
#include "kernels/isa/simd.h"

namespace effllm::EFFLLM_ISA {
namespace {

constexpr int kTokens = 4;

// What the decay multiplies: nothing, rows of M (key decay), columns of M (value decay; a scalar counts as one).
enum class Fold { none, rows, columns };
constexpr Fold fold_of(Decay d) { return d == Decay::none ? Fold::none : d == Decay::key ? Fold::rows : Fold::columns; }

// Token u's row i of x1 is q[u * q_stride + i], of x2 k[u * k_stride + i].
template <class T, int kVectors>
struct Tile {
  const T *q, *k;
  int64_t q_stride, k_stride;
  const T* row_decay;             // [rows] Fold::rows
  Vec<T> column_decay[kVectors];  // Fold::columns
  Vec<T> v[kTokens][kVectors];    // of x3
  Vec<T> o[kTokens][kVectors];    // what the tokens read
};

// N tokens over m [rows][kVectors vectors]: the decay first, then each token's x2 x3^T; token u reads after its own, or
// before it and before the decay (exclusive).
template <int N, Fold kFold, bool kExclusive, class T, int kVectors>
[[gnu::noinline]] void sweep(Tile<T, kVectors>& tile, T* m, int64_t m_stride, int64_t rows) {
  const T *q = tile.q, *k = tile.k, *row_decay = tile.row_decay;
  const int64_t q_stride = tile.q_stride, k_stride = tile.k_stride;
  Vec<T> o[N][kVectors];
#pragma GCC unroll 4
  for (int u = 0; u < N; ++u)
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) o[u][j] = Vec<T>{};
  for (int64_t i = 0; i < rows; ++i, m += m_stride) {
    Vec<T> s[kVectors];
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) {
      s[j] = load(m + j * kLanes<T>);
      if constexpr (kExclusive) o[0][j] = mul_add(q[i], s[j], o[0][j]);
      if constexpr (kFold == Fold::rows) s[j] *= row_decay[i];
      if constexpr (kFold == Fold::columns) s[j] *= tile.column_decay[j];
    }
#pragma GCC unroll 4
    for (int u = 0; u < N; ++u) {
      const T qu = q[u * q_stride + i], ku = k[u * k_stride + i];
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) {
        if (kExclusive && u > 0) o[u][j] = mul_add(qu, s[j], o[u][j]);
        s[j] = mul_add(ku, tile.v[u][j], s[j]);
        if (!kExclusive) o[u][j] = mul_add(qu, s[j], o[u][j]);
      }
    }
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) store(m + j * kLanes<T>, s[j]);
  }
#pragma GCC unroll 4
  for (int u = 0; u < N; ++u)
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) tile.o[u][j] = o[u][j];
}

}  // namespace
}  // namespace effllm::EFFLLM_ISA
