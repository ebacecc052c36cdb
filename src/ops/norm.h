// Normalisation of rows.
#pragma once
#include "autodiff/op.h"

namespace effllm {

// x / rms(x) * weight over groups of weight.numel() columns (all of them, or a head each), eps inside the root.
// Zhang and Sennrich 2019, arXiv:1910.07467.
Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps);
// (x - mean) / sqrt(var + eps) * weight (+ bias). Ba et al. 2016, arXiv:1607.06450.
Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps);

}  // namespace effllm
