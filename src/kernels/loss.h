// The kernel of the loss.
#pragma once
#include "kernels/kernel.h"
#include "tensor/view.h"

namespace effllm {

// Rows of logits against targets (negative: no loss). Returns the sum of -log softmax(target) and, where d_logits
// has data, (softmax - onehot) * scale. d_logits may be logits itself. nats: [rows] each row's loss, or null.
EFFLLM_KERNEL(cross_entropy,
              double(View<const T> logits, const int32_t* targets, T scale, View<T> d_logits, double* nats));

}  // namespace effllm
