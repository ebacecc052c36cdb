// Short causal depthwise convolution (core K5), as in front of Mamba, DeltaNet and the gated recurrences.
#pragma once
#include "autodiff/op.h"

namespace effllm {

struct ShortConvResult {
  Tensor y;        // [B, T, C]
  Tensor history;  // [B, W-1, C] last inputs of the running document, zeros where it is shorter
};

// y_t = sum_j weight[j] * x_{t-(W-1)+j} for each channel. x: [B, T, C], T >= 1; weight: [W, C]; history: [B, W-1, C]
// inputs before the first token, undefined for zeros; segments: i64 [B, T] or undefined (see segments.h). `bias`: [C]
// added to y, `silu`: y = silu of that, both in the same pass. Gradients for x, weight, history and bias, through both
// results. ShapeError where shapes don't fit.
ShortConvResult short_conv(const Tensor& x, const Tensor& weight, const Tensor& history = {},
                           const Tensor& segments = {}, bool silu = false, const Tensor& bias = {});

}  // namespace effllm
