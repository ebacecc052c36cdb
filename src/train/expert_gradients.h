// How large the gradients of experts are: one that is seldom chosen learns little, one that takes all drowns the rest.
#pragma once
#include <vector>

#include "nn/param_store.h"
#include "store/metrics.h"

namespace effllm {

// Of each place with experts (Traits::experts) the least, the mean and the largest Euclidean norm of an expert's
// gradient, over all its weights, before clipping: "layers.3.ffn.experts.grad_norm_max". In the order of names. Zeros
// where `gradient` is null: what the rows will be called.
std::vector<Measured> expert_gradients(const ParamStore& params, const Slab* gradient);

}  // namespace effllm
