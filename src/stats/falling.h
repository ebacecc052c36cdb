// Curves that never rise, through measurements that scatter.
#pragma once
#include <optional>
#include <span>
#include <vector>

namespace effllm {

// The numbers that never rise with the least sum of squared differences to `y` (pool adjacent violators, Barlow et al.
// 1972): where measurements rise, their mean.
std::vector<double> falling_fit(std::span<const double> y);

// The first x at which the fit of (x, y) has come down to `level`, between measurements linear in log x. x > 0 and
// rising, as many as y. Unset where the fit begins below `level`, or never gets there.
std::optional<double> first_reached(std::span<const double> x, std::span<const double> y, double level);

}  // namespace effllm
