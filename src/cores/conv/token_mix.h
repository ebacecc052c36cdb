// Token shift: each token mixed with the one before it, in proportions of the channel and, where they are given, of the
// token. Peng et al. 2023 (RWKV, arXiv:2305.13048), Peng et al. 2024 (RWKV-6, arXiv:2404.05892).
#pragma once
#include "autodiff/op.h"

namespace effllm {

struct TokenMixResult {
  Tensor y;     // [B, T, n*D]
  Tensor last;  // [B, 1, D] the last token
};

// y_i,t = x_t + (x_{t-1} - x_t) (mix_i + m_i,t), i < n, side by side.
//   x         [B, T, D]
//   before    [B, 1, D]    the token before the first
//   segments  i64 [B, T]
//   mix       [n, D]       or [D] for n = 1
//   m         [B, T, n*D]  undefined: none
TokenMixResult token_mix(const Tensor& x, const Tensor& before, const Tensor& segments, const Tensor& mix,
                         const Tensor& m = {});

}  // namespace effllm
