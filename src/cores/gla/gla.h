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
// number for all rows where the decay is scalar. q, k: [B, T, key_heads*dk]; v: [B, T, H*dv]; log_decay <= 0: undefined
// (none), [B, T, H] (scalar), [H] (scalar, a constant, without a gradient) or [B, T, H*dk] (key); state0:
// [B, H, dk, dv], undefined for zero; segments: i64 [B, T] or undefined (see segments.h). T >= 1. No value of log_decay
// overflows, -infinity included. Gradients for all but segments, through both results; those of decays are taken
// without dividing by one, those of shared q and k add up in the order of heads. Nothing is kept but the inputs.
// ShapeError where shapes don't fit.
GlaResult gla(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& log_decay, const Tensor& state0,
              const Tensor& segments, const GlaOptions& options);

}  // namespace effllm
