// Kernels of norms.
#pragma once
#include "kernels/kernel.h"
#include "tensor/view.h"

namespace effllm {

// Each row falls into groups of `width` columns that are normalised apart; rstd, mean: [rows * groups]. weight of
// rms_norm: [width], the same for all groups, or null; weight and bias of layer_norm: [C], one for each column.
EFFLLM_KERNEL(rms_norm, void(View<const T> x, const T* weight, int64_t width, T eps, View<T> y, T* rstd));
// dx, d_weight may be null
EFFLLM_KERNEL(rms_norm_backward, void(View<const T> x, const T* weight, int64_t width, const T* rstd, View<const T> dy,
                                      View<T> dx, bool add_x, T* d_weight, bool add_w));
EFFLLM_KERNEL(layer_norm,
              void(View<const T> x, const T* weight, const T* bias, int64_t width, T eps, View<T> y, T* mean, T* rstd));
EFFLLM_KERNEL(layer_norm_backward,
              void(View<const T> x, const T* weight, int64_t width, const T* mean, const T* rstd, View<const T> dy,
                   View<T> dx, bool add_x, T* d_weight, bool add_w, T* d_bias, bool add_b));

}  // namespace effllm
