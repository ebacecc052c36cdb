// One head of one sequence of the delta rule: what delta.cpp runs for each, forward and backward.
#pragma once
#include "cores/common/head_backward.h"
#include "cores/common/segments.h"

namespace effllm {

template <class T>
struct DeltaHead {
  View<const T> q, k, v;          // [T, dk], [T, dk], [T, dv]
  View<const T> beta, log_decay;  // [T, 1]; log_decay null: no decay
  const uint8_t* starts;          // [T] or null
  int64_t chunk;                  // 0: the default
};

// o, e [T, dv], e null: not wanted; state [dk][dv] dense, in and out.
template <class T>
void delta_head_forward(const DeltaHead<T>& head, View<T> o, View<T> e, T* state);

template <class T>
struct DeltaHeadGradients {
  View<const T> e;        // [T, dv], of forward
  View<const T> d_o;      // [T, dv]
  View<const T> d_state;  // [dk, dv] of the final state; null: none
  View<const T> state0;   // [dk, dv]; null: zero
  GradientView<T> dq, dk, dv, d_beta, d_log_decay, d_state0;
};

template <class T>
void delta_head_backward(const DeltaHead<T>& head, const DeltaHeadGradients<T>& gradients);

}  // namespace effllm
