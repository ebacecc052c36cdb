// Some tokens of each sequence by themselves, and back (core K7): as many of each.
#pragma once
#include "autodiff/op.h"

namespace effllm {

// Places among T tokens are i64 [B, k], ascending in each row.

// x[b, at[b, i]]: [B, T, C] -> [B, k, C]; of any type, of [B, T] too.
Tensor take_tokens(const Tensor& x, const Tensor& at);
// x with y [B, k, C] in the place of these tokens.
Tensor put_tokens(const Tensor& x, const Tensor& at, const Tensor& y);

// The `count` tokens of each sequence with the largest score [B, T, 1], ties to the first, in their order. Values only.
// margin: [B, T, 1], written: how far a token's score was from turning the choice.
Tensor top_tokens(const Tensor& score, int64_t count, Tensor* margin = nullptr);
// 1 for the tokens of the lists, 0 for others: [B, T, 1] of a type.
Tensor marked_tokens(const Tensor& at, int64_t tokens, DType t);

}  // namespace effllm
