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
// i, f, o = sigmoid(.), g = tanh(.) of gates_t + R h_{t-1};  c_t = f c_{t-1} + i g;  h_t = o tanh(c_t)
//   gates      [B, T, 4W]  W x_t + b for i, f, g, o
//   recurrent  [4W, W]     R
//   h0, c0     [B, W]      given together
//   segments   i64 [B, T]
LstmResult lstm_cell(const Tensor& gates, const Tensor& recurrent, const Tensor& h0 = {}, const Tensor& c0 = {},
                     const Tensor& segments = {});

struct GruResult {
  Tensor h;     // [B, T, W]
  Tensor last;  // [B, W]
};
// r, z = sigmoid(in + R h_{t-1});  n = tanh(in_n + r (R_n h_{t-1} + b));  h_t = (1 - z) n + z h_{t-1}
//   in         [B, T, 3W]  W x_t + b for r, z, n
//   recurrent  [3W, W]     R
//   bias       [W]         b
//   h0         [B, W]
//   segments   i64 [B, T]
GruResult gru_cell(const Tensor& in, const Tensor& recurrent, const Tensor& bias, const Tensor& h0 = {},
                   const Tensor& segments = {});

}  // namespace effllm
