// One head of one sequence of test-time training: what ttt.cpp runs for each, forward and backward.
#pragma once
#include <vector>

#include "cores/common/head_backward.h"
#include "kernels/dense.h"
#include "tensor/tensor.h"

namespace effllm {

// The linear model at the start of the open mini-batch and the sum of steps since. Null data: there is none.
template <class T>
struct TttMemory {
  View<T> w, sum_w;  // [n, n]
  View<T> b, sum_b;  // [1, n]
};

template <class T>
struct TttHead {
  View<const T> q, k, v;  // [T, n]
  View<const T> eta;      // [T, 1]
  const T* tau;           // [mini_batch]
  int64_t mini_batch;
  const T *weight, *bias;  // [n] of the layer norm
  View<const T> w0, b0;    // [n, n], [1, n]
  TttMemory<const T> before;
  const int64_t* positions;  // [T] or null: from 0
  T eps;
};

// Tokens [from, to) of one mini-batch. place: of the first one in it; fresh: a document, or all memory, starts there;
// closes: its last token is there.
struct MiniBatch {
  int64_t from, to, place;
  bool fresh, closes;
};
std::vector<MiniBatch> mini_batches(const int64_t* positions, int64_t tokens, int64_t size, bool continues);

// o [T, n]; z = k W + b and read = q W_i + b_i, [T, n], are kept for backward where they have data.
template <class T>
void ttt_head_forward(const TttHead<T>& head, const TttMemory<T>& after, View<T> o, View<T> z, View<T> read);

template <class T>
struct TttHeadGradients {
  View<const T> z, read;       // what forward kept
  View<const T> d_o;           // [T, n]
  TttMemory<const T> d_after;  // null data: none
  GradientView<T> dq, dk, dv, d_eta;
  TttMemory<T> d_before;         // written; zero where nothing is before
  T *d_tau, *d_weight, *d_bias;  // added to, as are the next
  View<T> d_w0, d_b0;
};

template <class T>
void ttt_head_backward(const TttHead<T>& head, const TttHeadGradients<T>& gradients);

// C (+)= op(A) op(B), whatever their sizes a row of C by the same arithmetic where B is not transposed.
template <class T>
void ttt_product(bool transpose_a, bool transpose_b, View<const T> a, View<const T> b, View<T> c, bool add) {
  kernel::gemm<T>({transpose_a, transpose_b, c.rows, c.cols, transpose_a ? a.rows : a.cols, a.data, a.stride, b.data,
                   b.stride, c.data, c.stride, add});
}

}  // namespace effllm
