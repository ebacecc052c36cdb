// Dense products, the work of nearly every step. The only user of oneDNN.
#pragma once
#include <cstdint>

#include "tensor/view.h"

namespace effllm {

// C[m, n] = op(A)[m, k] op(B)[k, n], or += with `add`; row-major. `a` is [m, k], or [k, m] where transpose_a; `b` is
// [k, n], or [n, k] where transpose_b; ld*: elements from one row to the next, at least a row. Runs on the calling
// thread; the bits follow from the sizes and strides alone.
template <class T>
void gemm(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, const T* a, int64_t lda, const T* b,
          int64_t ldb, T* c, int64_t ldc, bool add);

// The same by parallel_for over blocks of rows of C, or of columns where there are few rows. The blocks follow from the
// sizes alone, so the bits are those of one thread.
template <class T>
void parallel_gemm(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, const T* a, int64_t lda,
                   const T* b, int64_t ldb, T* c, int64_t ldc, bool add);

// The same of views; the depth is as `a` has it.
template <class T>
void parallel_gemm(View<const T> a, bool transpose_a, View<const T> b, bool transpose_b, View<T> c, bool add) {
  parallel_gemm<T>(transpose_a, transpose_b, c.rows, c.cols, transpose_a ? a.rows : a.cols, a.data, a.stride, b.data,
                   b.stride, c.data, c.stride, add);
}

// Lets the calling thread take what products need, code and buffers; MemoryError where there is no room for it.
void prepare_gemm();
const char* gemm_backend();  // what multiplies large f32 matrices: "oneDNN 2.6.3" or "built-in"

}  // namespace effllm
