// Kernels of the softmax of rows.
#pragma once
#include "kernels/kernel.h"
#include "tensor/view.h"

namespace effllm {

// y = softmax(x) of each row; log_sums: [rows], the log of each row's sum of exponentials, or null.
EFFLLM_KERNEL(softmax, void(View<const T> x, View<T> y, double* log_sums));
// dx (+)= y (dy - y . dy)
EFFLLM_KERNEL(softmax_backward, void(View<const T> y, View<const T> dy, View<T> dx, bool add));

}  // namespace effllm
