// One head of one sequence of diagonal plus low rank: what dplr.cpp runs for each, forward and backward.
#pragma once
#include "recurrence/head_backward.h"
#include "recurrence/segments.h"

namespace effllm {

template <class T>
struct DplrHead {
  View<const T> q, k, v, a, b;  // [T, dk], v [T, dv]
  View<const T> log_decay;      // [T, 1] or [T, dk]; null without decay
  Decay decay;
  const uint8_t* starts;  // [T] or null
  int64_t chunk;          // 0: the default
};

// o [T, dv]; r [T, dv], a_t^T S_{t-1}, null: not wanted; state [dk][dv] dense, in and out.
template <class T>
void dplr_head_forward(const DplrHead<T>& head, View<T> o, View<T> r, T* state);

template <class T>
struct DplrHeadGradients {
  View<const T> r;        // [T, dv], of forward
  View<const T> d_o;      // [T, dv]
  View<const T> d_state;  // [dk, dv] of the final state; null: none
  View<const T> state0;   // [dk, dv]; null: zero
  GradientView<T> dq, dk, dv, da, db, d_log_decay, d_state0;
};

template <class T>
void dplr_head_backward(const DplrHead<T>& head, const DplrHeadGradients<T>& gradients);

}  // namespace effllm
