// The end of a state space layer: a direct path around the core, and the gate.
#pragma once
#include "autodiff/op.h"

namespace effllm {

// (o + d x) * silu(z). o, x, z: [.., G*n]; d: [G], a number for each group of n columns. Gu and Dao 2023
// (arXiv:2312.00752).
Tensor gated_skip(const Tensor& o, const Tensor& x, const Tensor& z, const Tensor& d);

}  // namespace effllm
