// Kernels of a step of training.
#pragma once
#include "kernels/kernel.h"
#include "tensor/view.h"

namespace effllm {

struct AdamwArgs {
  double lr, beta1, beta2, eps, weight_decay, grad_scale;
  double bias1, bias2;  // 1 - beta^t
};

EFFLLM_KERNEL(sum_of_squares, double(const T* x, int64_t n));  // accumulated in f64
EFFLLM_KERNEL(adamw, void(const AdamwArgs&, int64_t n, const T* grad, T* value, T* m, T* v));

}  // namespace effllm
