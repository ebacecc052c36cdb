// Linear attention whose state takes in whole groups of tokens: a token reads what the groups before its own have left,
// so that no token of its own group, later or earlier, comes in. The global part of You et al. 2024 (arXiv:2406.07368)
// and of FLASH (Hua et al. 2022, arXiv:2202.10447).
#pragma once
#include "cores/attention/score_attention.h"

namespace effllm {

struct GroupMemoryResult {
  Tensor o;      // [B, T, H*dv]
  Tensor state;  // [B, H, dk, dv] of the groups that the running document has completed
};

// o_t = S^T q_t, S = sum of k_s v_s^T over the groups that were complete before t's own, for each head. Where no group
// ends and no document starts, `state` is state0 itself.
//   q, k      [B, T, H*dk]
//   v         [B, T, H*dv]
//   state0    [B, H, dk, dv]
//   cache                     the running document's last group as far as earlier calls have seen it
//   segments  i64 [B, T]
GroupMemoryResult group_memory(const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads, int64_t group,
                               const Tensor& state0 = {}, const GroupCache& cache = {}, const Tensor& segments = {});

}  // namespace effllm
