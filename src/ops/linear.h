// The dense layer.
#pragma once
#include "autodiff/op.h"

namespace effllm {

// y = x W^T (+ bias). x: [.., in], weight: [out, in], bias: [out] or undefined -> [.., out].
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias = {});

}  // namespace effllm
