// Rows that sum to one: softmax, and numbers divided by their sum.
#pragma once
#include "autodiff/op.h"

namespace effllm {

// exp(x) / sum exp(x) over each row, or over each of so many groups of its columns. [.., n] -> [.., n].
Tensor softmax(const Tensor& x, int64_t groups = 1);
// x / (sum x + eps) over each row, of numbers that are not negative.
Tensor divide_by_sum(const Tensor& x, double eps);
// Sum over rows of log^2(sum exp(x)), [1] f64: what a z-loss keeps small.
Tensor squared_log_sums(const Tensor& x);

}  // namespace effllm
