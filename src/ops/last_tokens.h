// The end of each sequence by itself.
#pragma once
#include "autodiff/op.h"

namespace effllm {

// The last `count` tokens of x, [B, T, C] -> [B, count, C].
Tensor last_tokens(const Tensor& x, int64_t count);

}  // namespace effllm
