// Numbers of each token and expert, weighted and added up: what losses of routing are made of (core K7).
#pragma once
#include "autodiff/op.h"

namespace effllm {

// factor * sum over tokens and experts of weight * p, [1] f64. p: [B, T, E]; weight: f64 [E], or [B, E] of each
// sequence, which gets no gradient.
Tensor weighted_total(const Tensor& p, const Tensor& weight, double factor);

// Sum over rows of -sum p log p, [1] f64: of rows that sum to one, their entropies. p: [.., n], not negative.
Tensor entropies(const Tensor& p);

}  // namespace effllm
