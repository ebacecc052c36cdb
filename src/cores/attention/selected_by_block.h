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
  const Sink& dq;
  const Tensor &dk, &dv;  // added to
};

// The key of the first query's own token.
inline int64_t first_key(const Tensor& q_offset, int64_t b, int64_t queries, int64_t keys) {
  const int64_t at = q_offset.defined() ? q_offset.data<int64_t>()[b] : keys - queries;
  require(at >= 0 && at + queries <= keys, "selected_attention: {} queries from key {} on don't fit {} keys", queries,
          at, keys);
  return at;
}
// The heads of one token and key-value head, as rows.
template <class T>
View<T> heads_of(const SelectedAttentionOptions& o, const Tensor& x, int64_t row, int64_t g) {
  const int64_t n = o.heads / o.kv_heads, width = x.cols() / o.heads;
  return {x.view<T>().row(row) + g * n * width, n, width, width};
}

// Numbers that a thread needs beside, forwards or backwards.
int64_t selected_scratch_by_block(int64_t group, int64_t block, int64_t dk, int64_t dv, bool backward);
// Writes o [B,T,H*dv] and, where it is defined, lse [B,T,H].
template <class T>
void selected_forward_by_block(const SelectedCall& call, const Tensor& o, const Tensor& lse);
template <class T>
void selected_backward_by_block(const SelectedCall& call, const SelectedGradients& g);

}  // namespace effllm
