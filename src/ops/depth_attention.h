// Attention of one learned query over values of a token, which may come from anywhere: layers before this one.
#pragma once
#include "autodiff/op.h"

namespace effllm {

inline constexpr size_t kMostDepths = kMostInputs - 2;

//   p_i = softmax over i of query . (weight v_i / rms(v_i)),  y = sum_i p_i v_i
// values: 1 to kMostDepths of one shape [.., C]; query, weight: [C]; eps inside the root. Kimi Team 2026,
// arXiv:2603.15031.
Tensor depth_attention(std::span<const Tensor> values, const Tensor& query, const Tensor& weight, double eps);

}  // namespace effllm
