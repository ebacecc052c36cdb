// Matrices of which rows and columns add up to one.
#pragma once
#include "autodiff/op.h"

namespace effllm {

enum class SinkhornStart {
  exp,      // of exp(x), each iteration divides the columns by their sums, then the rows
  softmax,  // of softmax(rows of x) + eps, the first divides columns, each further one rows, then columns, by sums +
            // eps
  sigmoid,  // of sigmoid(x) + eps, each iteration divides the rows by their sums + eps, then the columns
};

struct SinkhornOptions {
  int64_t iterations = 20;
  SinkhornStart start = SinkhornStart::exp;
  double eps = 0;  // exp: none
};

// Each row of x [.., n n] is a matrix of n rows -> [.., n n], nearer to a doubly stochastic one with every iteration.
// Gradients are those of what is computed. Sinkhorn and Knopp 1967; softmax as DeepSeek-V4, sigmoid as
// Transformers 5.8.0.
Tensor sinkhorn(const Tensor& x, int64_t n, const SinkhornOptions& o);

}  // namespace effllm
