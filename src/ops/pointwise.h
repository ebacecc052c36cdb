// Activations, one function of one element each (the list is kernels/pointwise.h's Pointwise), and the gated unit.
#pragma once
#include <string_view>
#include <vector>

#include "autodiff/op.h"
#include "kernels/pointwise.h"

namespace effllm {

Tensor pointwise(Pointwise f, const Tensor& x);
inline Tensor sigmoid(const Tensor& x) { return pointwise(Pointwise::sigmoid, x); }
inline Tensor silu(const Tensor& x) { return pointwise(Pointwise::silu, x); }

// silu(gate) * up of x = [gate | up], [.., 2F] -> [.., F]. Shazeer 2020, arXiv:2002.05202.
Tensor swiglu(const Tensor& gate_up);

std::string_view to_string(Pointwise f);

}  // namespace effllm
