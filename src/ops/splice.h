// Rows along time, picked from two sequences: how caches grow and move on while a tape records.
#pragma once
#include "autodiff/op.h"

namespace effllm {

// out[b, j] is row index[b, j] of a[b] followed by b[b]; zero where the index is negative. a: [B, S, C], b: [B, T, C],
// index: i64 [B, n], each row at most once -> [B, n, C].
Tensor splice_rows(const Tensor& a, const Tensor& b, const Tensor& index);

}  // namespace effllm
