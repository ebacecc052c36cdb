// The way of selected_attention for many tokens: each block meets all the queries that read it at once.
#pragma once
#include "autodiff/op.h"
#include "cores/attention/selected_attention.h"

namespace effllm {

struct SelectedCall {
  SelectedAttentionOptions options;
  const Tensor &q, &k, &v, &blocks, &q_offset, &segments;
};
struct SelectedGradients {
  const Tensor &o, &lse, &d_o;
  const Sink &dq, &dk, &dv;  // dk and dv are added to
};

// Numbers that a thread needs beside, forwards or backwards.
int64_t selected_scratch_by_block(int64_t group, int64_t block, int64_t dk, int64_t dv, bool backward);
// Writes o [B,T,H*dv] and, where it is defined, lse [B,T,H].
template <class T>
void selected_forward_by_block(const SelectedCall& call, const Tensor& o, const Tensor& lse);
template <class T>
void selected_backward_by_block(const SelectedCall& call, const SelectedGradients& g);

}  // namespace effllm
