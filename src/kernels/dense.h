// Kernels of dense products, and a matrix transposed. Products in general: gemm.h.
#pragma once
#include "kernels/kernel.h"
#include "tensor/view.h"

namespace effllm {

// C[M,N] (+)= op(A)[M,K] op(B)[K,N], row-major. `a` is [M,K], or [K,M] where transpose_a; `b` [K,N] or [N,K].
template <class T>
struct GemmArgs {
  bool transpose_a, transpose_b;
  int64_t m, n, k;
  const T* a;
  int64_t lda;
  const T* b;
  int64_t ldb;
  T* c;
  int64_t ldc;
  bool add;
};

EFFLLM_KERNEL(gemm, void(const GemmArgs<T>&));

// c (+)= a B for one B[k, n] and few rows at a time: `pack` lays B, or w^T of w[n, k], out in packed_size elements.
EFFLLM_KERNEL(packed_size, int64_t(int64_t k, int64_t n));
EFFLLM_KERNEL(pack, void(bool transposed, View<const T> w, T* to));
EFFLLM_KERNEL(multiply_packed, void(View<const T> a, const T* b, View<T> c, bool add));

EFFLLM_KERNEL(transpose, void(View<const T> x, View<T> y));  // y[c][r] = x[r][c]

}  // namespace effllm
