// What routers measure of scores and choices.
#pragma once
#include <span>
#include <vector>

#include "nn/call.h"
#include "tensor/tensor.h"

namespace effllm {

inline constexpr Metric kEntropy{"router_entropy", "nat", "mean entropy of the router's scores"};

double total(std::span<const double> x);
// Reports how choices are spread, from how often each expert was chosen: `max_load`, and where there are at most 64
// experts `load.0`, `load.1` ..., each one's share. 0 where nothing was chosen.
void add_loads(const std::vector<double>& times, const Call& call);
// Summed over rows, each divided by its sum.
double entropy(const Tensor& score);

// Of lists of experts i64 [B, T, k], -1 for none:
Tensor in_order(const Tensor& chosen);                            // sorted, as forms are compared
int64_t without_choice(const Tensor& chosen);                     // tokens
std::vector<double> in_common(const Tensor& a, const Tensor& b);  // choices that both make, and that either
}  // namespace effllm
