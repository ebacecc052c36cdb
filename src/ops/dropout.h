// Dropout. Srivastava et al. 2014.
#pragma once
#include <cstdint>

#include "autodiff/op.h"
#include "base/random.h"

namespace effllm {

// Zeroes each element with probability p and scales the others by 1/(1-p). x: [B, T, C]. Which ones depends on the
// stream (seed, site, step), the number of the sample, and the element: on no partition.
Tensor dropout(const Tensor& x, double p, const RandomStream& stream, const Samples& samples);

}  // namespace effllm
