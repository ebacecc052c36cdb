// The kernel of the loss.
#pragma once
#include "kernels/kernel.h"
#include "tensor/view.h"

namespace effllm {

// Rows of logits against targets (negative: no loss). Returns the sum of w (-log softmax(target)) and, where d_logits
// has data, (softmax - onehot) * w * scale. weights: [rows] w; null: 1. d_logits may be logits itself. nats: [rows]
// each row's loss without w, or null. squares: the sum of log^2 Z, where Z is the sum of a row's exponentials, and the
// gradient has that of z_scale * log^2 Z too; or null.
EFFLLM_KERNEL(cross_entropy, double(View<const T> logits, const int32_t* targets, const double* weights, T scale,
                                    double z_scale, View<T> d_logits, double* nats, double* squares));

}  // namespace effllm
