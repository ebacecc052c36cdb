#include "stats/holm.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"

namespace effllm {

std::vector<HolmStep> holm(std::span<const double> p, double alpha) {
  for (const double v : p) require(v >= 0 && v <= 1, "Holm's correction of a p that is {}", v);
  std::vector<size_t> order(p.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, {}, [&](size_t i) { return p[i]; });
  std::vector<HolmStep> steps(p.size());
  double level = 0, adjusted = 0;
  bool going = true;
  for (size_t k = 0; k < order.size(); ++k) {
    const double left = static_cast<double>(p.size() - k);
    if (going) level = alpha / left;
    going = going && p[order[k]] <= level;
    adjusted = std::max(adjusted, std::min(1.0, left * p[order[k]]));
    steps[order[k]] = {going, level, adjusted};
  }
  return steps;
}

}  // namespace effllm
