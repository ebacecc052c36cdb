// Kernels of single elements and of whole rows and columns.
#pragma once
#include "kernels/kernel.h"
#include "tensor/view.h"

namespace effllm {

enum class Pointwise {
  sigmoid,
  tanh,
  relu,
  relu2,
  silu,
  gelu,
  gelu_tanh,
  softplus,
  log_sigmoid,
  exp,
  elu1,
  reciprocal,
  laplace,
  log  // of the smallest normal number where x is less
};

// y = f(x);  dx (+)= f'(x) dy
EFFLLM_KERNEL(pointwise, void(Pointwise f, View<const T> x, View<T> y));
EFFLLM_KERNEL(pointwise_backward, void(Pointwise f, View<const T> x, View<const T> dy, View<T> dx, bool add));
// y (+)= alpha a * b elementwise;  y (+)= alpha a;  y = a + b
EFFLLM_KERNEL(multiply, void(T alpha, View<const T> a, View<const T> b, View<T> y, bool add));
EFFLLM_KERNEL(scale, void(T alpha, View<const T> a, View<T> y, bool add));
EFFLLM_KERNEL(sum, void(View<const T> a, View<const T> b, View<T> y));
EFFLLM_KERNEL(add_row, void(View<const T> x, const T* row, View<T> y));  // y = x + row
EFFLLM_KERNEL(column_sum, void(View<const T> x, T* sum, bool add));      // over rows, in row order
// gate_up: [rows, 2F]; y = silu(gate) * up
EFFLLM_KERNEL(swiglu, void(View<const T> gate_up, View<T> y));
EFFLLM_KERNEL(swiglu_backward, void(View<const T> gate_up, View<const T> dy, View<T> d_gate_up, bool add));

}  // namespace effllm
