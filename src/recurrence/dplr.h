// Diagonal plus low rank (the general form of core K3): a matrix state that decays, is changed by a product of what it
// holds under one vector with another, and takes in k v^T. The delta rule is a = k, b = -beta * decayed k; RWKV-7
// (arXiv:2503.14456), Comba (arXiv:2506.02475) and Kimi Delta Attention (arXiv:2510.26692) are others.
#pragma once
#include "autodiff/op.h"
#include "kernels/table.h"

namespace effllm {

struct DplrOptions {
  int64_t heads = 1;
  Decay decay = Decay::key;  // none, scalar (one a head) or key (one a key channel)
  int64_t chunk = 0;         // tokens to a call of the kernel, 0: its own choice. How, never what
};

struct DplrResult {
  Tensor o;      // [B, T, H*dv]
  Tensor state;  // [B, H, dk, dv] after the last token, dense
};

// S_t = diag(d_t) S_{t-1} + b_t (a_t^T S_{t-1}) + k_t v_t^T,  o_t = S_t^T q_t, d = exp(log_decay), for each head.
// q, k, a, b: [B, T, H*dk]; v: [B, T, H*dv]; log_decay <= 0: undefined (none), [B, T, H] (scalar) or [B, T, H*dk]
// (key); state0: [B, H, dk, dv], undefined for zero; segments: i64 [B, T] or undefined (see segments.h). T >= 1. Any
// value of log_decay, -infinity included. Gradients for all but segments, through both results; that of log_decay is
// taken without dividing by d. Kept are the inputs and a_t^T S_{t-1}. ShapeError where shapes don't fit.
DplrResult dplr(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& a, const Tensor& b,
                const Tensor& log_decay, const Tensor& state0, const Tensor& segments, const DplrOptions& options);

}  // namespace effllm
