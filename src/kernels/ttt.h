// Kernels of test-time training.
#pragma once
#include "kernels/kernel.h"
#include "tensor/view.h"

namespace effllm {

// Rows of one head of a linear model that is trained while it is used: z = k W + b of each token, whose loss is
// 1/2 |LN(z) - (v - k)|^2.
template <class T>
struct TttRows {
  View<const T> z, k, v;   // [rows, n]
  View<const T> eta;       // [rows, 1] the inner learning rates
  const T *weight, *bias;  // [n] of the layer norm
  T eps;
};
template <class T>
struct TttRowGradients {
  View<const T> d_a;
  View<T> d_z, d_error;  // d_error: of LN(z) - (v - k)
  View<T> d_eta;         // [rows, 1]; null data: not wanted
  bool add_eta;
  T *d_weight, *d_bias;  // added to
};
// y_i = y_i + bias - tau_i (sum_i + sum over j <= i of (1 + scores_ij) a_j).
template <class T>
struct TttRead {
  View<const T> scores, a, sum;  // [rows, rows], [rows, n] twice; null data of `sum`: zero
  const T *bias, *tau;           // [n], [rows]
  View<T> y;
};

EFFLLM_KERNEL(ttt_gradient, void(const TttRows<T>&, View<T> a));  // a = eta * d loss / d z
EFFLLM_KERNEL(ttt_gradient_backward, void(const TttRows<T>&, const TttRowGradients<T>&));
EFFLLM_KERNEL(ttt_read, void(const TttRead<T>&));

}  // namespace effllm
