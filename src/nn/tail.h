// A state that keeps the last tokens of a document: how it moves on after a call.
#pragma once
#include <vector>

#include "tensor/tensor.h"

namespace effllm {

// Rows of tokens in use, one number a sequence.
using Counts = std::vector<int64_t>;

// The last after[b] rows of (the first before[b] rows of field[b], then x[b]), from row 0 on. field: [B, R, C]; x:
// [B, T, C]; after[b] <= R. While a tape records a new tensor whose other rows are zero; otherwise the field's memory
// is written in place: give it Call::own().
Tensor keep_tail(const Tensor& field, const Tensor& x, const Counts& before, const Counts& after);

}  // namespace effllm
