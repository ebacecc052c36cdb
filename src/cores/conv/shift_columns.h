// Token shift: some channels look one token back (Peng's RWKV; Hua et al. 2022, FLASH, arXiv:2202.10447).
#pragma once
#include "autodiff/op.h"

namespace effllm {

struct ShiftColumnsResult {
  Tensor y;     // [B, T, C]
  Tensor last;  // [B, 1, n] the shifted columns of the last token
};

// The first n columns of y_t are those of x_{t-1}, zero at a document's start; the others are x_t's.
//   x         [B, T, C]
//   before    [B, 1, n]   the columns of the token before the first
//   segments  i64 [B, T]
ShiftColumnsResult shift_columns(const Tensor& x, int64_t n, const Tensor& before = {}, const Tensor& segments = {});

}  // namespace effllm
