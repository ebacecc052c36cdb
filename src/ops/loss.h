// Losses.
#pragma once
#include "autodiff/op.h"

namespace effllm {

// Sum over rows of -log softmax(logits)[target], times `weight`, as a [1] tensor. logits: [.., Q]; targets: i32, one a
// row, negative where there is no loss. The gradient is formed in the forward pass.
Tensor cross_entropy(const Tensor& logits, const Tensor& targets, double weight);

// cross_entropy(linear(x, weight, {}, transposed), targets, loss_weight) in one: the logits become their own gradient
// block by block, and are never there twice; not at all where nothing records. With a `z_weight` also the sum over the
// same rows of log^2 Z, where Z is the sum of a row's exponentials, [1] f64 (0 without); backward then starts from
// both, from the second with `z_weight` times the gradient of the first. row_weights: f64, dense, one a row, multiply
// each row's loss; undefined: 1. They get no gradient.
struct LossAndSquares {
  Tensor loss, squares;
};
LossAndSquares linear_cross_entropy(const Tensor& x, const Tensor& weight, const Tensor& transposed,
                                    const Tensor& targets, double loss_weight, double z_weight = 0,
                                    const Tensor& row_weights = {});

}  // namespace effllm
