// Sequence cores as plain loops over tokens in f64, from their equations: what the fast forms are compared with.
// Inputs of either float type; results are f64, and no gradients are recorded.
#pragma once
#include "cores/conv/short_conv.h"
#include "cores/delta/delta.h"
#include "cores/gla/gla.h"

namespace effllm {

// Inputs as in gla.h, delta.h and short_conv.h.
GlaResult reference_gla(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& log_decay,
                        const Tensor& state0, const Tensor& segments, const GlaOptions& options);
DeltaResult reference_delta(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& beta,
                            const Tensor& log_decay, const Tensor& state0, const Tensor& segments,
                            const DeltaOptions& options);
ShortConvResult reference_short_conv(const Tensor& x, const Tensor& weight, const Tensor& history,
                                     const Tensor& segments);

}  // namespace effllm
