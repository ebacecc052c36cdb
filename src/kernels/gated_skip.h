// Kernels of a skip and a gate behind a state space.
#pragma once
#include "kernels/kernel.h"
#include "tensor/view.h"

namespace effllm {

// y = (o + d x) silu(z), d: [groups]; gradients with null data are not wanted.
template <class T>
struct GatedSkipBackward {
  View<const T> o, x, z, dy;  // [rows, groups * n]
  const T* d;
  int64_t groups;
  View<T> d_o, d_x, d_z;
  bool add_o, add_x, add_z;
  T* d_d;
  bool add_d;
};

EFFLLM_KERNEL(gated_skip,
              void(View<const T> o, View<const T> x, View<const T> z, const T* d, int64_t groups, View<T> y));
EFFLLM_KERNEL(gated_skip_backward, void(const GatedSkipBackward<T>&));

}  // namespace effllm
