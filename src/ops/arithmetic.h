// Sums and products of tensors of one shape.
#pragma once
#include "autodiff/op.h"

namespace effllm {

Tensor add(const Tensor& a, const Tensor& b);
Tensor multiply(const Tensor& a, const Tensor& b);
Tensor scale(const Tensor& x, double factor);
// The same with a factor that is learned, [1].
Tensor scale_by(const Tensor& x, const Tensor& factor);
// 1 - x, of gates.
Tensor one_minus(const Tensor& x);
// x * weight + bias, both [C], one number for each column; an undefined one is left out.
Tensor affine_columns(const Tensor& x, const Tensor& weight, const Tensor& bias = {});

}  // namespace effllm
