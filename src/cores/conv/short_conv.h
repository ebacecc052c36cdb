// Short causal depthwise convolution (core K5), as in front of Mamba, DeltaNet and the gated recurrences.
#pragma once
#include "autodiff/op.h"

namespace effllm {

struct ShortConvResult {
  Tensor y;        // [B, T, C]
  Tensor history;  // [B, W-1, C] last inputs of the running document, zeros where it is shorter
};

// y_t = sum_j weight[j] x_{t-(W-1)+j} + bias for each channel, with `silu` silu of that in the same pass.
//   x         [B, T, C]
//   weight    [W, C]       the last tap for the newest token
//   history   [B, W-1, C]  inputs before the first token
//   segments  i64 [B, T]
//   bias      [C]          undefined: none
ShortConvResult short_conv(const Tensor& x, const Tensor& weight, const Tensor& history = {},
                           const Tensor& segments = {}, bool silu = false, const Tensor& bias = {});

}  // namespace effllm
