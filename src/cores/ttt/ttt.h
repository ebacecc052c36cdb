// Test-time training (core K9): the state is a linear model that takes a step of gradient descent per token. Sun et al.
// 2024 (arXiv:2407.04620). Every token of a mini-batch takes its gradient at the model that the mini-batch began with,
// so that a mini-batch is a few small products, and no token needs a matrix of its own.
#pragma once
#include "autodiff/op.h"

namespace effllm {

// What is learned by ordinary training.
struct TttModel {
  Tensor token_scale;   // [M], tau: one for each place in a mini-batch, whose length it sets
  Tensor weight, bias;  // [H*n] of the layer norm behind the linear model, a head's columns apart
  Tensor w0, b0;        // [H, n, n] and [H*n]: the linear model at the start of a document
};

// The linear model at the start of the open mini-batch, and the sum of eta * gradient since then (zero between two).
struct TttState {
  Tensor w, b;          // [B, H, n, n], [B, H*n]
  Tensor sum_w, sum_b;  // like w, b
};

struct TttOptions {
  int64_t heads = 1;
  double eps = 1e-6;  // of the layer norm
};

struct TttResult {
  Tensor o;  // [B, T, H*n]
  TttState state;
};

// For each head, with W_0, b_0 the model at the start of token i's mini-batch and i counted from 1 in it:
//   g_j = gradient with respect to (W, b) of 1/2 |LN(k_j W + b) - (v_j - k_j)|^2 at W_0, b_0
//   (W_i, b_i) = (W_0, b_0) - tau_i sum_{j <= i} eta_j g_j,   o_i = q_i + LN(q_i W_i + b_i)
// and the next mini-batch starts from W_M, b_M.
//   q, k, v    [B, T, H*n]
//   eta        [B, T, H]    learning rates of the tokens
//   before                  the state that the first token goes on from, or all undefined
//   positions  i64 [B, T]   in the document: 0 at its start, which resets the model; undefined: 0, 1, ...
TttResult ttt(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& eta, const TttModel& model,
              const TttState& before, const Tensor& positions, const TttOptions& options);

}  // namespace effllm
