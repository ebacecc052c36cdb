// Holm's step-down procedure (Holm 1979): several tests, of which none of the true hypotheses is rejected but with a
// chance of alpha.
#pragma once
#include <span>
#include <vector>

namespace effllm {

struct HolmStep {
  bool rejected = false;
  // The level that the p was held against: alpha / m of the smallest of m, alpha / (m - 1) of the next ... An interval
  // of level 1 - `level` leaves out 0 exactly where it is rejected: behind the first that is not, the level stays.
  double level = 0;
  double adjusted = 0;  // p: rejected at alpha where it is at most alpha
};

// In the order of `p`. Each p is of 0 to 1: what has none (one seed, no variance) is to be left out before.
std::vector<HolmStep> holm(std::span<const double> p, double alpha);

}  // namespace effllm
