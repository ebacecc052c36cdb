// Kernels of short convolutions of one sequence.
#pragma once
#include "kernels/kernel.h"
#include "tensor/view.h"

namespace effllm {

// y_t = sum_j w[j] * x_{t-(W-1)+j}, depthwise. history: [W-1, C] the tokens before (null data: zeros).
EFFLLM_KERNEL(short_conv,
              void(View<const T> x, View<const T> w, View<const T> history, const uint8_t* starts, View<T> y));
EFFLLM_KERNEL(short_conv_backward,
              void(View<const T> x, View<const T> w, View<const T> history, const uint8_t* starts, View<const T> dy,
                   View<T> dx, bool add_x, View<T> dw, bool add_w, View<T> d_history, bool add_history));
// y_t (+)= sum of w[width - 1 - (t - s)] x_s over from[t] <= s <= t, from[t] > t - width, one filter for all columns.
// Strides may be negative: time runs backwards then.
EFFLLM_KERNEL(filter, void(View<const T> x, const T* w, int64_t width, const int64_t* from, View<T> y, bool add));

}  // namespace effllm
