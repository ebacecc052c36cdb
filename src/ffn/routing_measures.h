// What routers measure of scores and choices.
#pragma once
#include <span>
#include <vector>

#include "store/metrics.h"
#include "tensor/tensor.h"

namespace effllm {

inline constexpr Metric kEntropy{"router_entropy", "nat", "mean entropy of the router's scores"},
    kMaxLoad{"max_load", "1", "choices of the expert that was chosen most, over the mean"};

double total(std::span<const double> x);
double largest_over_mean(std::span<const double> times);  // 0 where nothing was chosen
// Summed over rows, each divided by its sum.
double entropy(const Tensor& score);

// Of lists of experts i64 [B, T, k], -1 for none:
Tensor in_order(const Tensor& chosen);                            // sorted, as forms are compared
int64_t without_choice(const Tensor& chosen);                     // tokens
std::vector<double> in_common(const Tensor& a, const Tensor& b);  // choices that both make, and that either
}  // namespace effllm
