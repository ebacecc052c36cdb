// Gated linear attention (core K2): a matrix state that decays, takes in k v^T and is read by q. Katharopoulos et al.
// 2020 (arXiv:2006.16236), Sun et al. 2023 (RetNet, arXiv:2307.08621), Yang et al. 2024 (GLA, arXiv:2312.06635),
// Dao and Gu 2024 (Mamba-2, arXiv:2405.21060).
#pragma once
#include "autodiff/op.h"
#include "kernels/table.h"

namespace effllm {

struct GlaOptions {
  int64_t heads = 1;
  Decay decay = Decay::scalar;  // none, scalar (one a head) or key (one a key channel)
  bool exclusive = false;       // token t reads the state before its own k v^T
  int64_t chunk = 0;            // tokens to a call of the kernel, 0: its own choice. How, never what
};

struct GlaResult {
  Tensor o;      // [B, T, H*dv]
  Tensor state;  // [B, H, dk, dv] after the last token, dense
};

// S_t = a_t S_{t-1} + k_t v_t^T,  o_t = S_t^T q_t (exclusive: S_{t-1}^T q_t), a = exp(log_decay), for each head.
// q, k: [B, T, H*dk]; v: [B, T, H*dv]; log_decay <= 0: undefined (none), [B, T, H] (scalar) or [B, T, H*dk] (key);
// state0: [B, H, dk, dv], undefined for zero; segments: i64 [B, T] or undefined (see segments.h). T >= 1. No value of
// log_decay overflows, -infinity included. Gradients for all but segments, through both results; that of log_decay is
// taken without dividing by a. Nothing is kept but the inputs. ShapeError where shapes don't fit.
GlaResult gla(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& log_decay, const Tensor& state0,
              const Tensor& segments, const GlaOptions& options);

// One token, nothing recorded. q, k: [B, H*dk], v: [B, H*dv], log_decay: undefined, [B, H] or [B, H*dk];
// state [B, H, dk, dv] is updated in place. Returns o [B, H*dv].
Tensor gla_step(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& log_decay, const Tensor& state,
                const GlaOptions& options);

}  // namespace effllm
