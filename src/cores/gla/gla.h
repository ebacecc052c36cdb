// Gated linear attention (core K2): a matrix state that decays, takes in k v^T and is read by q. Katharopoulos et al.
// 2020 (arXiv:2006.16236), Sun et al. 2023 (RetNet, arXiv:2307.08621), Yang et al. 2024 (GLA, arXiv:2312.06635),
// Dao and Gu 2024 (Mamba-2, arXiv:2405.21060).
#pragma once
#include "autodiff/op.h"
#include "kernels/gla.h"

namespace effllm {

struct GlaOptions {
  int64_t heads = 1;
  Decay decay = Decay::scalar;  // none, scalar (one a head) or key (one a key channel)
  bool exclusive = false;       // token t reads the state before its own k v^T
  int64_t chunk = 0;            // tokens to a call of the kernel, 0: its own choice. How, never what
  int64_t key_heads = 0;        // heads of q and k, each read by heads / key_heads heads of v in a row; 0: as many
};

struct GlaResult {
  Tensor o;      // [B, T, H*dv]
  Tensor state;  // [B, H, dk, dv] after the last token, dense
};

// S_t = D(a_t) S_{t-1} + k_t v_t^T,  o_t = S_t^T q_t (exclusive: S_{t-1}^T q_t), for each head, a = exp(log_decay), one
// number for all rows where the decay is scalar. No value of log_decay overflows, -infinity included, and its gradient
// is taken without dividing by a; gradients of shared q and k add up in the order of heads. Only inputs are kept.
//   q, k       [B, T, G*dk]    G = key_heads
//   v          [B, T, H*dv]
//   log_decay  undefined       Decay::none; else <= 0:
//              [B, T, H]       Decay::scalar; [H]: a constant, without a gradient
//              [B, T, H*dk]    Decay::key
//   state0     [B, H, dk, dv]
//   segments   i64 [B, T]
GlaResult gla(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& log_decay, const Tensor& state0,
              const Tensor& segments, const GlaOptions& options);

}  // namespace effllm
