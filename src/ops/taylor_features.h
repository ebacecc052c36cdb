// Features whose inner product is the exponential's Taylor polynomial. Arora et al. 2024 (Based, arXiv:2402.18668).
#pragma once
#include "autodiff/op.h"

namespace effllm {

// phi(x) of each of `heads` groups of f columns: (1, x f^-1/4, x_i x_j / f^1/2 for i <= j, times 2^-1/2 where i = j),
// so that phi(q).phi(k) = 1 + q.k / f^1/2 + (q.k)^2 / (2 f). [.., H*f] -> [.., H*taylor_width(f)].
Tensor taylor_features(const Tensor& x, int64_t heads);
constexpr int64_t taylor_width(int64_t f) { return 1 + f + f * (f + 1) / 2; }

}  // namespace effllm
