// Parts of rows: a wide projection taken apart, results put side by side.
#pragma once
#include <vector>

#include "autodiff/op.h"

namespace effllm {

// Column ranges of x, in the same memory; widths must add up to its columns. Their gradients are written into one
// buffer, so that taking a fused projection apart costs nothing.
std::vector<Tensor> split_columns(const Tensor& x, const std::vector<int64_t>& widths);
// [.., a] and [.., b] -> [.., a + b].
Tensor join_columns(const Tensor& a, const Tensor& b);

}  // namespace effllm
