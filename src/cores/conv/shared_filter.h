// A causal filter along time, one per head and shared by the head's columns: the local part that augments linear
// attention (You et al. 2024, arXiv:2406.07368).
#pragma once
#include "autodiff/op.h"

namespace effllm {

struct SharedFilterResult {
  Tensor y;        // [B, T, H*n]
  Tensor history;  // [B, W-1, H*n] last inputs of the running document, zeros where it is shorter
};

// y_t = base_t + sum_j weight[h, j] x_{t-(W-1)+j} in the columns of head h.
//   x, base   [B, T, H*n]    base undefined: none
//   weight    [H, W]         the last tap for the newest token
//   history   [B, W-1, H*n]  inputs before the first token
//   segments  i64 [B, T]
SharedFilterResult shared_filter(const Tensor& x, const Tensor& weight, const Tensor& history = {},
                                 const Tensor& segments = {}, const Tensor& base = {});

}  // namespace effllm
