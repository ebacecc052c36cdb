// Kernels of the softmax of rows.
#pragma once
#include "kernels/kernel.h"
#include "tensor/view.h"

namespace effllm {

// y = exp(x) / sum exp(x) of each row;  dx (+)= y (dy - sum dy y), of y
EFFLLM_KERNEL(softmax, void(View<const T> x, View<T> y));
EFFLLM_KERNEL(softmax_backward, void(View<const T> y, View<const T> dy, View<T> dx, bool add));

}  // namespace effllm
