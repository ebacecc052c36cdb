// Tokens sorted by expert and back (core K7): rows are packed in segments, one an expert, in the order of tokens, and
// nothing has a size that depends on a choice.
#pragma once
#include "autodiff/op.h"

namespace effllm {

// Where each choice stands among the packed rows.
struct Dispatch {
  Tensor rows;    // i64 [B, T, k]: its row, or -1 where there is no choice
  Tensor starts;  // i64 [E + 1]: rows [starts[e], starts[e + 1]) are those of expert e; behind starts[E] is nothing
  int64_t room;   // M, the rows there are
};
// experts: i64 [B, T, k] of `count`, -1 for none. `room`: no more than so many choices; 0: all may be, M = B T k.
Dispatch dispatch_to(const Tensor& experts, int64_t count, int64_t room = 0);

// x [B, T, D] -> [M, D], a copy of a token for each of its choices; zeros behind the last.
Tensor pack_rows(const Tensor& x, const Dispatch& to);
// y = x W_e^T for the rows x of each expert. packed: [M, in]; weight: [E * out, in], experts from the top ->
// [M, out]; zeros behind the last row. `transposed`: a copy of the weight as [in, E * out], or undefined. `share`: how
// much of M is in use as a rule, for costs.
Tensor grouped_linear(const Tensor& packed, const Tensor& weight, const Dispatch& to, const Tensor& transposed = {},
                      double share = 1);
// Each token's rows, weighted and added up: packed [M, D], weights [B, T, k] -> [B, T, D].
Tensor unpack_rows(const Tensor& packed, const Tensor& weights, const Dispatch& to);

}  // namespace effllm
