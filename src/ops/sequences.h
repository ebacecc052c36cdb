// Some sequences of a batch by themselves, and back: what a layer that leaves sequences out is made of.
#pragma once
#include <vector>

#include "autodiff/op.h"

namespace effllm {

// Places in a batch, ascending.
using Sequences = std::vector<int64_t>;

// x[sequences]: [B, ...] -> [n, ...], of any type.
Tensor take_sequences(const Tensor& x, const Sequences& sequences);
// x with y [n, ...] in the place of x[sequences].
Tensor put_sequences(const Tensor& x, const Sequences& sequences, const Tensor& y);

}  // namespace effllm
