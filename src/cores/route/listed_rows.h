// Rows of a large table that each token names (core K7), gathered where they stand: neither way does anything look at
// the others.
#pragma once
#include "autodiff/op.h"

namespace effllm {

// y_j = x . table[list_j]. x: [B, T, D]; table: [N, D]; lists: i64 [B, T, k] -> [B, T, k].
Tensor dot_listed(const Tensor& x, const Tensor& table, const Tensor& lists);
// sum over j of weight_j table[list_j]. weights: [B, T, k] -> [B, T, D].
Tensor add_listed(const Tensor& weights, const Tensor& table, const Tensor& lists);

}  // namespace effllm
