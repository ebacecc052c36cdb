// Cross-entropy of yes and no.
#pragma once
#include "autodiff/op.h"

namespace effllm {

// Sum of -log p of what `target` says (1 yes, 0 no), p(yes) = sigmoid(logit), [1] f64. Both [.., n] of one type; the
// target gets no gradient.
Tensor logistic_loss(const Tensor& logit, const Tensor& target);

}  // namespace effllm
