// Attention by plain loops in f64: what the fast kernels are compared with.
#pragma once
#include "cores/attention/attention.h"
#include "kernels/attention.h"

namespace effllm {

// One head, forward: writes a.o and, where given, a.lse. Needs no scratch.
void reference_attention(const AttentionArgs<double>& a);
// One head, backward of all three inputs, from q, k, v and d_o alone.
void reference_attention_backward(const AttentionArgs<double>& a, const AttentionBackwardArgs<double>& g);

// attention() of f64 tensors, all heads; nothing is recorded.
Tensor reference_attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options,
                           const AttentionPlaces& places = {});

}  // namespace effllm
