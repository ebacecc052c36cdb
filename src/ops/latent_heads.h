// Keys and values of heads that share a part of their keys, as latent attention decompresses them.
#pragma once
#include "autodiff/op.h"

namespace effllm {

struct KeysValues {
  Tensor k, v;
};

// kv: [.., heads * (own + value)], each head's own part of the key and its value; shared: [.., r], part of every head's
// key -> k [.., heads * (own + r)], v [.., heads * value].
KeysValues latent_heads(const Tensor& kv, const Tensor& shared, int64_t heads, int64_t own);

}  // namespace effllm
