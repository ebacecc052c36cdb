// What the kernels of the delta rule and of diagonal plus low rank take. See table.h.
#pragma once
#include <cstdint>

#include "kernels/linear_attention_args.h"

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

// Diagonal plus low rank, M [rows][columns] dense: M = decay(d_t) M + b_t c_t^T + k_t v_t^T, o_t = M^T q_t,
// c_{t+1} = M^T next_t, which is written to r_t. c of the first token is `first`, or M^T read_first before anything
// happens, written to r_first, or nothing. q, k, b: [T, rows]; next may have fewer rows than steps: the last c is then
// not written; v, o, r: [T, columns]; d: [T, 1] scalar, [T, rows] key. scratch: 64 rows elements.
template <class T>
struct DplrPass {
  int64_t steps;
  View<const T> q, k, v, b, next, d;
  Decay decay;
  const T *first, *read_first;
  View<T> o, r;
  T *r_first, *state, *scratch;
};
// Over transposed states: M = M decay(d_t) + x_t b_t^T + v_t k_t^T, o_t = M^T read_t, p_t = M^T peek_t, the latter
// before token t's decay where `before`. x, v, read, peek: [T, rows]; b, k, o, p: [T, columns]; d: [T, 1] or [T,
// columns].
template <class T>
struct DplrKeysPass {
  int64_t steps;
  View<const T> x, v, read, peek, b, k, d;
  Decay decay;  // none, scalar or value
  bool before;
  View<T> o, p;
  T *state, *scratch;
};

}  // namespace effllm
