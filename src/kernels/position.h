// Kernels whose result depends on where a row stands: rotary embedding and dropout.
#pragma once
#include "kernels/kernel.h"
#include "tensor/view.h"

namespace effllm {

// Rotates pairs (c, c + dim/2) of each head's first `dim` columns by +angle or -angle. cos, sin: [rows, dim/2] dense.
EFFLLM_KERNEL(rotate, void(View<const T> x, int64_t heads, int64_t head_dim, int64_t dim, const T* cos, const T* sin,
                           bool inverse, View<T> y, bool add));
// Row r is row (row0 + r % rows_per_sample) of sample (sample0 + r / rows_per_sample).
EFFLLM_KERNEL(dropout, void(View<const T> x, double p, uint32_t key0, uint32_t key1, int64_t sample0, int64_t row0,
                            int64_t rows_per_sample, View<T> y, bool add));

}  // namespace effllm
