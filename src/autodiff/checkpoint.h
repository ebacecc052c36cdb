// Recomputation: run a part of the model without keeping anything but its input, and run it again in backward.
// Source: Chen et al. 2016, arXiv:1604.06174.
#pragma once
#include <functional>

#include "autodiff/tape.h"

namespace effllm {

// y = f(x), where f is a pure function of x and of parameters. Gradients are the same to the bit as without.
Tensor checkpoint(std::function<Tensor(const Tensor&)> f, const Tensor& x);

}  // namespace effllm
