// Gated linear attention (core K2): a matrix state that decays, takes in k v^T and is read by q. Katharopoulos et al.
// 2020 (arXiv:2006.16236), Sun et al. 2023 (RetNet, arXiv:2307.08621), Yang et al. 2024 (GLA, arXiv:2312.06635),
// Dao and Gu 2024 (Mamba-2, arXiv:2405.21060).
#pragma once
#include "autodiff/op.h"
#include "kernels/table.h"

namespace effllm {

struct GlaOptions {
  int64_t heads = 1;
  Decay decay = Decay::scalar;  // none, scalar (one a head), key (one a key channel) or value (one a value channel)
  bool exclusive = false;       // token t reads the state before its own k v^T
  int64_t chunk = 0;            // tokens to a call of the kernel, 0: its own choice. How, never what
  int64_t key_heads = 0;        // heads of q and k, each read by heads / key_heads heads of v in a row; 0: as many
};

struct GlaResult {
  Tensor o;      // [B, T, H*dv]
  Tensor state;  // [B, H, dk, dv] after the last token, dense
};

// S_t = D(a_t) S_{t-1} D(g_t) + k_t v_t^T,  o_t = S_t^T q_t (exclusive: S_{t-1}^T q_t), for each head, where one of a
// (key decay; scalar: the same for all rows) and g (value decay) is exp(log_decay) and the other is 1, or
// exp(log_value_decay) where g has one beside a key decay (both at once go token by token, a slower path). q, k: [B, T,
// key_heads*dk]; v: [B, T, H*dv]; log_decay <= 0: undefined (none), [B, T, H] (scalar), [H] (scalar, a constant,
// without a gradient), [B, T, H*dk] (key) or [B, T, H*dv] (value); log_value_decay: [B, T, H*dv] or undefined; state0:
// [B, H, dk, dv], undefined for zero; segments: i64 [B, T] or undefined (see segments.h). T >= 1. No value of log_decay
// overflows, -infinity included. Gradients for all but segments, through both results; those of decays are taken
// without dividing by one, those of shared q and k add up in the order of heads. Nothing is kept but the inputs, and o
// for a value decay. ShapeError where shapes don't fit.
GlaResult gla(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& log_decay, const Tensor& state0,
              const Tensor& segments, const GlaOptions& options, const Tensor& log_value_decay = {});

// One token, nothing recorded. q, k: [B, key_heads*dk], v: [B, H*dv], log_decay: as above without T;
// state [B, H, dk, dv] is updated in place. Returns o [B, H*dv].
Tensor gla_step(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& log_decay, const Tensor& state,
                const GlaOptions& options);

}  // namespace effllm
