// Dense layers of groups of columns: block-diagonal matrices, and heads that each have a weight of their own.
#pragma once
#include "autodiff/op.h"

namespace effllm {

// Block b of `blocks` uses rows [first, first + rows) of its share of the weight, which is divided evenly by rows.
struct BlockForm {
  int64_t blocks = 1;
  int64_t first = 0, rows = 0;  // rows 0: all of a share
  bool transposed = false;      // y = x W instead of x W^T
  int64_t carry = 0;            // columns behind a block's inputs, handed on behind its outputs
};

// y_b = x_b W_b^T (+ bias), or x_b W_b. weight [blocks * share, K]; x: [.., blocks * (in + carry)] with in = K, or
// `rows` where transposed -> [.., blocks * (out + carry)]. bias: [blocks * out], only without `carry`.
Tensor block_linear(const Tensor& x, const Tensor& weight, const Tensor& bias, const BlockForm& form);

}  // namespace effllm
