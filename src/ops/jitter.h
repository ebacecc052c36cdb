// Multiplicative noise. Fedus et al. 2021, arXiv:2101.03961.
#pragma once
#include "autodiff/op.h"
#include "base/random.h"

namespace effllm {

// x times numbers that are uniform in [1 - by, 1 + by). x: [B, T, C]. They depend on the stream, the number of the
// sample and the element: on no partition.
Tensor jitter(const Tensor& x, double by, const RandomStream& stream, const Samples& samples);

}  // namespace effllm
