// Kernels of what surrounds the recurrence of linear attention.
#pragma once
#include "kernels/kernel.h"
#include "tensor/view.h"

namespace effllm {

// One head of one sequence of linear attention. y_t = o_t / (q_t . z_t + eps), z_t = z_{t-1} + k_t.
template <class T>
struct Normaliser {
  View<const T> q, k, o;  // [T, dk] twice, [T, dv]
  const uint8_t* starts;  // z begins at zero there
  T eps;
  View<T> inverse;  // [T, 1] the factor of o: written forward, read backward
};
template <class T>
struct NormaliserBackward {
  View<const T> dy;
  View<T> d_q, d_k, d_o;
  bool add_q, add_k, add_o;
  T *z, *d_z;  // [dk] in and out: z before the first token; the gradient of the last z, then of the first
  T* e;        // [T] scratch
};

// y_t = o_t + (sum_d q_d u_d k_d) v_t.
template <class T>
struct Bonus {
  View<const T> q, k, v;
  const T* u;  // [dk]
};
template <class T>
struct BonusBackward {
  View<const T> dy;
  View<T> d_q, d_k, d_v;
  bool add_q, add_k, add_v;
  T* d_u;  // [dk], added to
};

EFFLLM_KERNEL(normaliser, void(const Normaliser<T>&, View<T> y, T* z));  // z: [dk] in and out
EFFLLM_KERNEL(normaliser_backward, void(const Normaliser<T>&, const NormaliserBackward<T>&));
EFFLLM_KERNEL(bonus, void(const Bonus<T>&, View<const T> o, View<T> y));
EFFLLM_KERNEL(bonus_backward, void(const Bonus<T>&, const BonusBackward<T>&));
// y: [rows, 1 + f + f (f + 1) / 2] = (1, a x, the products b x_i x_j of i <= j in order of i, i = j times `half`)
EFFLLM_KERNEL(taylor_features, void(View<const T> x, T a, T b, T half, View<T> y));
EFFLLM_KERNEL(taylor_features_backward,
              void(View<const T> x, T a, T b, T half, View<const T> dy, View<T> dx, bool add));

}  // namespace effllm
