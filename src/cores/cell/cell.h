// Sequential cells (core K8): the state before a token enters its gates, so tokens come one after another. What the
// input adds to the gates is computed before, for all tokens at once; a step is one product for all sequences of the
// call and a pass over its columns. Sequences that are together share the reading of the recurrent weight.
#pragma once
#include "autodiff/op.h"

namespace effllm {

struct LstmResult {
  Tensor h;               // [B, T, W]
  Tensor last_h, last_c;  // [B, W] after the last token
};
// gates: [B, T, 4W], W x_t + b for i, f, g, o; recurrent: R [4W, W], so that
//   i, f, o = sigmoid(.), g = tanh(.) of gates_t + R h_{t-1};  c_t = f c_{t-1} + i g;  h_t = o tanh(c_t)
// h0, c0: [B, W], both undefined for zeros; segments: i64 [B, T] or undefined (see segments.h). Gradients for all float
// inputs, through all results. ShapeError where shapes don't fit.
LstmResult lstm_cell(const Tensor& gates, const Tensor& recurrent, const Tensor& h0 = {}, const Tensor& c0 = {},
                     const Tensor& segments = {});

struct GruResult {
  Tensor h;     // [B, T, W]
  Tensor last;  // [B, W]
};
// in: [B, T, 3W] for r, z, n; recurrent: R [3W, W]; bias: b [W]; so that
//   r, z = sigmoid(in + R h_{t-1});  n = tanh(in_n + r (R_n h_{t-1} + b));  h_t = (1 - z) n + z h_{t-1}
// The rest as for lstm_cell.
GruResult gru_cell(const Tensor& in, const Tensor& recurrent, const Tensor& bias, const Tensor& h0 = {},
                   const Tensor& segments = {});

}  // namespace effllm
