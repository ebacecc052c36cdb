// Normalisation of rows.
#pragma once
#include "autodiff/op.h"

namespace effllm {

// x / rms(x) * weight over groups of weight.numel() columns (all of them, or a head each), eps inside the root.
// Zhang and Sennrich 2019, arXiv:1910.07467.
Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps);
// The same without a weight, over groups of `width` columns.
Tensor rms_norm(const Tensor& x, int64_t width, double eps);
// length * x / sqrt(sum x^2 + eps) over groups of `width` columns.
Tensor l2_norm(const Tensor& x, int64_t width, double eps, double length = 1);
// (x - mean) / sqrt(var + eps) * weight (+ bias), both [C] or undefined. Ba et al. 2016, arXiv:1607.06450. With groups
// the columns fall into that many parts which are normalised apart: group norm of one token (Wu and He 2018,
// arXiv:1803.08494).
Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps, int64_t groups = 1);

}  // namespace effllm
