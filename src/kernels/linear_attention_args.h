// What the kernels of linear attention take: the recurrence, and what surrounds it. See table.h.
#pragma once
#include <cstdint>

#include "tensor/view.h"

namespace effllm {

enum class Decay { none, scalar, key, value };

// M_t = decay(a_t) M_{t-1} + x2_t x3_t^T ;  y_t (+)= M_t^T x1_t  (exclusive: y_t reads M_{t-1}).
// x1, x2: [T, rows of M]; x3, y: [T, columns of M]; a: linear decays in [0, 1]: [T,1] scalar, [T, rows] key,
// [T, columns] value. Strides may be negative: time runs backwards then. a = 0 is legal (a document starts).
template <class T>
struct GlaPass {
  int64_t steps;
  View<const T> x1, x2, x3, a;  // `a` unused for Decay::none
  Decay decay;
  bool exclusive = false;
  View<T> y;  // null data: only the state is wanted
  bool add = false;
  T* state;  // [rows][columns] dense, in and out
};

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

}  // namespace effllm
