// The delta rule as plain loops over tokens in f64, from its equations. Inputs as in delta.h, of either float type;
// results are f64, and no gradients are recorded.
#pragma once
#include "cores/delta/delta.h"

namespace effllm {

DeltaResult reference_delta(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& beta,
                            const Tensor& log_decay, const Tensor& state0, const Tensor& segments,
                            const DeltaOptions& options);

}  // namespace effllm
