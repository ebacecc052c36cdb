// The kernel of gated linear attention, whose passes are forward and backward.
#pragma once
#include "kernels/kernel.h"
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

EFFLLM_KERNEL(gla, void(const GlaPass<T>&));

}  // namespace effllm
