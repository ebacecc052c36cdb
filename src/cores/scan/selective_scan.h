// Mamba's selective scan (core K1, fused): a diagonal recurrence of N states for each of C channels, whose steps,
// inputs and reads depend on the token. Gu and Dao 2023, arXiv:2312.00752.
#pragma once
#include "autodiff/op.h"

namespace effllm {

struct SelectiveScanInputs {
  Tensor x, delta;  // [B, T, C]      delta >= 0: step sizes
  Tensor a_log;     // [C, N]
  Tensor b, c;      // [B, T, N]
  Tensor skip;      // [C]            undefined: none
  Tensor state0;    // [B, N, C]
  Tensor segments;  // i64 [B, T]
};
struct SelectiveScanResult {
  Tensor y;     // [B, T, C]
  Tensor last;  // [B, N, C] after the last token
};

// h[n,c] = exp(-delta_c exp(a_log[c,n])) h[n,c] + delta_c x_c b_n,  y_c = sum_n c_n h[n,c] + skip_c x_c. Channels are
// the rows' inner dimension of states, so that they fill vectors at every length. Keeps the inputs and a state every 16
// tokens; [B, T, C, N] is never in memory.
SelectiveScanResult selective_scan(const SelectiveScanInputs& in);

}  // namespace effllm
