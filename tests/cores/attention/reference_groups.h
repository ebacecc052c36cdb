// Attention inside groups and the memory of groups as plain loops in f64: what score_attention and group_memory are
// compared with. Inputs as there, without heads, in one document that starts with the call.
#pragma once
#include "cores/gla/group_memory.h"

namespace effllm {

Tensor reference_score_attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& bias,
                                 const ScoreAttentionOptions& options);
Tensor reference_group_memory(const Tensor& q, const Tensor& k, const Tensor& v, int64_t group);

}  // namespace effllm
