// Products of heads, which are matrices.
#pragma once
#include "cores/common/heads.h"
#include "kernels/gemm.h"

namespace effllm {

// c (+)= op(a) op(b), the depth as a has it; nothing is done where a size is 0.
template <class T>
void product(View<const T> a, bool transpose_a, View<const T> b, bool transpose_b, View<T> c, bool add) {
  const int64_t depth = transpose_a ? a.rows : a.cols;
  if (c.rows > 0 && c.cols > 0 && depth > 0)
    gemm<T>(transpose_a, transpose_b, c.rows, c.cols, depth, a.data, a.stride, b.data, b.stride, c.data, c.stride, add);
}

}  // namespace effllm
