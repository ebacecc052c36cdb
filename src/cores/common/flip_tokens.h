// Time backwards.
#pragma once
#include "autodiff/op.h"

namespace effllm {

// Each document of a row with its tokens in reverse order; documents stay where they are.
//   x         [B, T, C], or ids i32 [B, T]
//   segments  i64 [B, T]
//   returns   of the shape of x
Tensor flip_tokens(const Tensor& x, const Tensor& segments = {});

}  // namespace effllm
