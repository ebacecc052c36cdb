// Relative differences. doctest's Approx allows epsilon (1 + |b|), which for a small b is more than all of it.
#pragma once
#include <algorithm>
#include <cmath>

namespace effllm::test {

// |a - b| <= share |b|
inline bool close(double a, double b, double share = 1e-6) { return std::abs(a - b) <= share * std::abs(b); }

}  // namespace effllm::test
