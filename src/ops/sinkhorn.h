// Matrices of which rows and columns add up to one.
#pragma once
#include "autodiff/op.h"

namespace effllm {

struct SinkhornOptions {
  int64_t iterations = 20;
  // False: of exp(x), each iteration divides the columns by their sums, then the rows. True: of softmax(rows of x) +
  // eps, the first divides columns, each further one rows, then columns, by their sums + eps.
  bool from_softmax = false;
  double eps = 0;  // from_softmax alone
};

// Each row of x [.., n n] is a matrix of n rows -> [.., n n], nearer to a doubly stochastic one with every iteration.
// Gradients are those of what is computed. Sinkhorn and Knopp 1967; from_softmax as DeepSeek-V4.
Tensor sinkhorn(const Tensor& x, int64_t n, const SinkhornOptions& o);

}  // namespace effllm
