// Two tensors added up, each times a number that is learned.
#pragma once
#include "autodiff/op.h"

namespace effllm {

// scale_a * a + scale_b * b. a, b: one shape [.., C]; scales: [1] each. Keeps all four.
Tensor scaled_sum(const Tensor& a, const Tensor& scale_a, const Tensor& b, const Tensor& scale_b);

}  // namespace effllm
