// Heads of tensors as matrices, and products of them.
#pragma once
#include "kernels/gemm.h"
#include "tensor/tensor.h"

namespace effllm {

// Columns of head h in the rows of sequence b, of x [B, rows, H * n]; null data where x is undefined.
template <class T>
View<T> head_of(const Tensor& x, int64_t b, int64_t h, int64_t heads) {
  if (!x.defined()) return {};
  const int64_t n = x.cols() / heads;
  return x.view<T>().part(b * x.dim(1), x.dim(1)).columns(h * n, n);
}

// c (+)= op(a) op(b), the depth as a has it; nothing is done where a size is 0.
template <class T>
void product(View<const T> a, bool transpose_a, View<const T> b, bool transpose_b, View<T> c, bool add) {
  const int64_t depth = transpose_a ? a.rows : a.cols;
  if (c.rows > 0 && c.cols > 0 && depth > 0)
    gemm<T>(transpose_a, transpose_b, c.rows, c.cols, depth, a.data, a.stride, b.data, b.stride, c.data, c.stride, add);
}

}  // namespace effllm
