// Test-time training as a loop over tokens in f64, every token with a linear model of its own, written out.
#pragma once
#include "cores/ttt/ttt.h"

namespace effllm {

// Inputs as in ttt.h, of either float type; results are f64, and no gradients are recorded.
TttResult reference_ttt(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& eta, const TttModel& model,
                        const TttState& before, const Tensor& positions, const TttOptions& options);

}  // namespace effllm
