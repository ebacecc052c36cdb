// What it costs to predict tokens by those that noise has put in their place.
#pragma once
#include "autodiff/op.h"

namespace effllm {

// Sum over rows of w (KL(q || p) + r - log r - 1), [1] f64, where q_j = keep [j = x] + noise and p_j = keep s_j + noise
// for each token j of the vocabulary, s = softmax(logits), and r = q_z / p_z; r is 1 where z is no token of the
// vocabulary (MASK, whose share is the same in q and p). The continuous-time bound of a diffusion that such noise
// makes: Schiff et al. 2024, arXiv:2412.10193, equation 18; von Ruette et al. 2025, arXiv:2503.04482, theorem 3.7.
//   logits  [.., Q]
//   tokens  i32, one a row: x; negative: the row has no loss
//   seen    i32, one a row: z
//   terms   f64 [rows, 3]: keep, noise (of each token), w
// Gradients reach the logits, formed in the forward pass.
Tensor corruption_loss(const Tensor& logits, const Tensor& tokens, const Tensor& seen, const Tensor& terms);

}  // namespace effllm
