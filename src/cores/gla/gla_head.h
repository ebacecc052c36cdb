// One head of one sequence of gated linear attention: what gla.cpp runs for each, forward and backward.
#pragma once
#include "cores/common/head_backward.h"
#include "cores/common/segments.h"
#include "kernels/gla.h"

namespace effllm {

template <class T>
struct GlaHead {
  View<const T> q, k, v;    // [T, dk], [T, dk], [T, dv]
  View<const T> log_decay;  // [T, 1] or [T, dk]; [1, 1]: a constant; unused without decay
  Decay decay;
  bool exclusive;
  const uint8_t* starts;  // [T] or null
  int64_t chunk;          // 0: the default
};

// o [T, dv]; state [dk][dv] dense, in and out.
template <class T>
void gla_head_forward(const GlaHead<T>& head, View<T> o, T* state);

template <class T>
struct GlaHeadGradients {
  View<const T> d_o;                      // [T, dv]
  View<const T> d_state;                  // [dk, dv] of the final state; null: none
  View<const T> state0;                   // [dk, dv]; null: zero
  GradientView<T> dq, dk;                 // [T, dk]
  GradientView<T> dv;                     // [T, dv]
  GradientView<T> d_log_decay, d_state0;  // like log_decay, state0
};

template <class T>
void gla_head_backward(const GlaHead<T>& head, const GlaHeadGradients<T>& gradients);

}  // namespace effllm
