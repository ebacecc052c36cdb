// The dense layer.
#pragma once
#include "autodiff/op.h"

namespace effllm {

// y = x W^T (+ bias). x: [.., in], weight: [out, in], bias: [out] or undefined -> [.., out]. `transposed`: a copy of
// the weight as [in, out], or undefined; forward reads it instead, which is faster for many rows.
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias = {}, const Tensor& transposed = {});

// x W^T of which every number is summed in one order, however many rows there are: scores that choose.
Tensor linear_by_dots(const Tensor& x, const Tensor& weight);

// What it takes to multiply by a weight [out, in], or by its transposed copy [in, out] where that is defined.
struct Multiplier {
  const Tensor &weight, &transposed;
  // y = x W^T for rows of x, in the calling thread or by all.
  template <class T>
  void operator()(View<const T> x, View<T> y) const;
};
// Its gradients: dX (+)= dY W into input 0 of the op, dW (+)= dY^T X into input 1, where they are wanted.
template <class T>
void multiply_backward(Backward& c, View<const T> x, View<const T> w, View<const T> dy);

}  // namespace effllm
