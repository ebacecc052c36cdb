// Diagonal plus low rank as plain loops over tokens in f64, from its equation. Inputs as in dplr.h, of either float
// type; results are f64, and no gradients are recorded.
#pragma once
#include "recurrence/dplr.h"

namespace effllm {

DplrResult reference_dplr(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& a, const Tensor& b,
                          const Tensor& log_decay, const Tensor& state0, const Tensor& segments,
                          const DplrOptions& options);

}  // namespace effllm
