#include "objectives/corruption.h"

#include <algorithm>
#include <cmath>

namespace effllm {

Corruption CorruptionSchedule::at(double t) const {
  if (!masks()) return {1 - t, 0, t, 0, 1 / (1 - t)};
  const double most = 2 * p_uniform_ / (1 - p_uniform_), c = most * std::sqrt(t * (1 - t));
  const double slope = t > 0 && t < 1 ? c * (1 - 2 * t) / (2 * t * (1 - t)) : 0;
  return {(1 - t) / (1 + c), t / (1 + c), c / (1 + c), 1 / ((1 + c) * (1 - t)),
          (c + (1 - t) * slope) / ((1 + c) * (1 - t))};
}

CorruptionSchedule::Time CorruptionSchedule::time(double u) const {
  const double power = masks() ? 4 : 2, t = std::pow(u, power);
  constexpr double kLeast = 1e-14;  // losses are finite inside
  return {std::clamp(t, kLeast, 1 - kLeast), power * std::pow(u, power - 1)};
}

}  // namespace effllm
