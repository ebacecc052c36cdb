// Recomputation: run a part of the model without keeping anything but its input, and run it again in backward.
// Source: Chen et al. 2016, arXiv:1604.06174.
#pragma once
#include <functional>
#include <vector>

#include "autodiff/tape.h"

namespace effllm {

using RunAgain = std::function<std::vector<Tensor>(const std::vector<Tensor>&)>;

// y = f(x), of kMostInputs at most, where f gives the same in a second call: of x, of parameters and of what it holds.
// Both calls are recorded, the first on a tape that is dropped, so that f takes the ways that it would take without
// this. Gradients are the same to the bit. A Meter counts the second call's forward as backward.
std::vector<Tensor> checkpoint(RunAgain f, const std::vector<Tensor>& x);

}  // namespace effllm
