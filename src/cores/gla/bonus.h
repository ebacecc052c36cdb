// The current token's own weight beside an exclusive read. Peng et al. 2024 (RWKV-6, arXiv:2404.05892).
#pragma once
#include "autodiff/op.h"

namespace effllm {

// o_t + (sum_d q_d u_d k_d) v_t for each head: with o_t = q^T S_{t-1} it is q^T (S_{t-1} + D(u) k v^T).
//   o, v     [.., H*dv]
//   q, k     [.., H*dk]
//   u        [H*dk]
//   returns  [.., H*dv]
Tensor add_bonus(const Tensor& o, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& u, int64_t heads);

}  // namespace effllm
