// One small projection put to several uses, each with a scale and an offset of its own for every column.
#pragma once
#include "autodiff/op.h"

namespace effllm {

// [z * weight_0 + bias_0 | z * weight_1 + bias_1 | ...] of z [.., C], weight and bias [R, C] -> [.., R*C]. Hua et al.
// 2022, arXiv:2202.10447.
Tensor offset_scale(const Tensor& z, const Tensor& weight, const Tensor& bias);

}  // namespace effllm
