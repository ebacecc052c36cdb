// Kernels of the delta rule.
#pragma once
#include "kernels/kernel.h"
#include "tensor/view.h"

namespace effllm {

// The delta rule over M [rows][columns] dense, in and out: M' = a_t M, e_t = v_t - M'^T k_t, M = M' + beta_t k_t e_t^T,
// o_t = M^T q_t. q, k: [T, rows]; v, o, e: [T, columns]; a in [0, 1], beta: [T, 1]; no decay where a has no data. `e`
// is optional. Strides may be negative, here and below. scratch: 5 steps + 64 rows elements.
template <class T>
struct DeltaPass {
  int64_t steps;
  View<const T> q, k, v, a, beta;
  View<T> o, e;
  T *state, *scratch;
};
// G [rows][columns] of backward: G = a_t G' + q_t d_o_t^T, x_t = G^T k_t, y_t = beta_t x_t, G' = G - k_t y_t^T. On the
// way u_t = beta_t e_t.
template <class T>
struct DeltaValuesPass {
  int64_t steps;
  View<const T> q, k, d_o, e, a, beta;
  View<T> x, y, u;
  T *state, *scratch;
};
// Over transposed states. u, y, d_o: [T, rows]; q, k and the results: [T, columns].
// In time (q has no data): M' = a_t M, decayed_t = M'^T y_t, M = M' + u_t k_t^T, read_t = M^T d_o_t.
// Against it: G = a_t G' + d_o_t q_t^T, read_t = G^T u_t, G' = G - y_t k_t^T.
template <class T>
struct DeltaKeysPass {
  int64_t steps;
  View<const T> u, y, d_o, q, k, a;
  View<T> read, decayed;
  T *state, *scratch;
};

// What is left of a head's gradients when the passes are done, all [T, n] in time and worked on from the last token:
// dk = read - decayed, d_beta = x.e, d_log_decay = c += q.dq - k.(read + decayed). Null results are not wanted. Where
// the tokens are `fresh` nothing was there for the first to decay.
template <class T>
struct DeltaGradients {
  int64_t steps;
  View<const T> q, k, dq, read, decayed, x, e;
  View<T> dk, d_beta, d_log_decay;
  bool add_dk, add_beta, add_decay, fresh;
  T c;
};

EFFLLM_KERNEL(delta, void(const DeltaPass<T>&));
EFFLLM_KERNEL(delta_values, void(const DeltaValuesPass<T>&));
EFFLLM_KERNEL(delta_keys, void(const DeltaKeysPass<T>&));
EFFLLM_KERNEL(delta_gradients, void(const DeltaGradients<T>&));

}  // namespace effllm
