// Kernels of groups of equal width in each row, and of factors of each column.
#pragma once
#include "kernels/kernel.h"
#include "tensor/view.h"

namespace effllm {

// y (+)= factor[g] * x;  y[g] (+)= a . b. factor, y of group_dot: [rows, groups].
EFFLLM_KERNEL(scale_groups, void(View<const T> x, View<const T> factor, View<T> y, bool add));
EFFLLM_KERNEL(group_dot, void(View<const T> a, View<const T> b, View<T> y, bool add));
// y (+)= x * factor + offset (null: none), [C] each;  sum[c] (+)= sum over rows of a * b, in row order.
EFFLLM_KERNEL(scale_columns, void(View<const T> x, const T* factor, const T* offset, View<T> y, bool add));
EFFLLM_KERNEL(column_dot, void(View<const T> a, View<const T> b, T* sum, bool add));

}  // namespace effllm
