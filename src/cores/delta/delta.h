// The delta rule (core K3): a matrix state that decays, corrects what it holds under a key, and is read. Schlag et al.
// 2021 (arXiv:2102.11174), Yang et al. 2024 (DeltaNet, arXiv:2406.06484; Gated DeltaNet, arXiv:2412.06464).
#pragma once
#include "autodiff/op.h"

namespace effllm {

struct DeltaOptions {
  int64_t heads = 1;
  int64_t chunk = 0;  // tokens to a call of the kernel, 0: its own choice. How, never what
};

struct DeltaResult {
  Tensor o;      // [B, T, H*dv]
  Tensor state;  // [B, H, dk, dv] after the last token, dense
};

// S' = a_t S_{t-1},  e_t = v_t - S'^T k_t,  S_t = S' + beta_t k_t e_t^T,  o_t = S_t^T q_t, a = exp(log_decay), for each
// head. No value of log_decay overflows, -infinity included, and its gradient is taken without dividing by a; the state
// stays bounded where beta |k|^2 is in [0, 2]. Kept are the inputs and the errors e.
//   q, k       [B, T, H*dk]
//   v          [B, T, H*dv]
//   beta       [B, T, H]
//   log_decay  [B, T, H]       <= 0; undefined: none
//   state0     [B, H, dk, dv]
//   segments   i64 [B, T]
DeltaResult delta(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& beta, const Tensor& log_decay,
                  const Tensor& state0, const Tensor& segments, const DeltaOptions& options);

}  // namespace effllm
