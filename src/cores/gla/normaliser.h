// The normaliser of linear attention: the weights that a query gives to the values add up to one. Katharopoulos et al.
// 2020 (arXiv:2006.16236).
#pragma once
#include "autodiff/op.h"

namespace effllm {

struct NormaliserResult {
  Tensor y;  // [B, T, H*dv]
  Tensor z;  // [B, H, dk] after the last token, dense
};

// y_t = o_t / (q_t . z_t + eps), z_t = z_{t-1} + k_t, for each head.
//   o         [B, T, H*dv]
//   q, k      [B, T, H*dk]
//   z0        [B, H, dk]
//   segments  i64 [B, T]
NormaliserResult normalise_by_keys(const Tensor& o, const Tensor& q, const Tensor& k, const Tensor& z0,
                                   const Tensor& segments, int64_t heads, double eps);

}  // namespace effllm
