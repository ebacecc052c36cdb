// The least that a layer's forget gates may be, growing with depth: HGRN, Qin et al. 2023, arXiv:2311.04823.
#pragma once
#include "autodiff/op.h"

namespace effllm {

// With P = softmax(x, over layers): P_1 + .. + P_layer for each column, 0 for layer 0. x: [layers, C] -> [C].
Tensor gate_floor(const Tensor& x, int64_t layer);

}  // namespace effllm
