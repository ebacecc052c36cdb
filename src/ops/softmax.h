// Softmax of rows.
#pragma once
#include "autodiff/op.h"

namespace effllm {

// exp(x) / sum exp(x) over the columns of each row, of the same shape; the largest is taken off first. Keeps its
// output.
Tensor softmax(const Tensor& x);

}  // namespace effllm
