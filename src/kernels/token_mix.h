// Kernels that mix a token with the one before it.
#pragma once
#include "kernels/kernel.h"
#include "tensor/view.h"

namespace effllm {

// Some columns of one sequence, each token mixed with the one before it; y_i,t = x_t + (x_{t-1} - x_t) (mix_i + m_i,t).
// Part i of m, y and their gradients begins i * step columns further on.
inline constexpr int64_t kTokenMixColumns = 128;  // at most so many
template <class T>
struct TokenMix {
  View<const T> x;        // [T, n]
  const T* before;        // [n] the token before the first, or null for zero
  const uint8_t* starts;  // [T] non-zero where a document starts, or null
  const T* mix;           // [parts][n], mix_stride apart
  int64_t mix_stride;
  View<const T> m;  // [T, n], of part 0; null data: none
  int64_t parts, step;
};
template <class T>
struct TokenMixBackward {
  View<const T> dy;
  const T* d_last;  // [n] of the last token itself, or null
  View<T> d_x, d_m;
  T* d_mix;  // [parts][n], added to, d_mix_stride apart
  int64_t d_mix_stride;
  T* d_before;
  bool add_x, add_m, add_before;
};

EFFLLM_KERNEL(token_mix, void(const TokenMix<T>&, View<T> y));
EFFLLM_KERNEL(token_mix_backward, void(const TokenMix<T>&, const TokenMixBackward<T>&));

}  // namespace effllm
