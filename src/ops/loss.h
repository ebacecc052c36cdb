// Losses.
#pragma once
#include "autodiff/op.h"

namespace effllm {

// Sum over rows of -log softmax(logits)[target], times `weight`, as a [1] tensor. logits: [.., Q]; targets: i32, one a
// row, negative where there is no loss. The gradient is formed in the forward pass.
Tensor cross_entropy(const Tensor& logits, const Tensor& targets, double weight);

}  // namespace effllm
