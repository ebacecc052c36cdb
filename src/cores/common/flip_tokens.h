// Time backwards.
#pragma once
#include "autodiff/op.h"

namespace effllm {

// Each document of a row with its tokens in reverse order; documents stay where they are.
//   x         [B, T, C]
//   segments  i64 [B, T]
//   returns   [B, T, C]
Tensor flip_tokens(const Tensor& x, const Tensor& segments = {});

}  // namespace effllm
