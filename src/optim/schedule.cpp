#include "optim/schedule.h"

#include <algorithm>

namespace effllm {

double Schedule::factor(int64_t step, double progress) const {
  if (step < warmup_) return static_cast<double>(step + 1) / (static_cast<double>(warmup_) + 1);
  // What warm-up took of the horizon, which may be in steps, tokens, FLOPs or seconds.
  const double warm = step > 0 ? progress * static_cast<double>(warmup_) / static_cast<double>(step) : 0;
  return shape(warm < 1 ? std::clamp((progress - warm) / (1 - warm), 0.0, 1.0) : 1);
}

}  // namespace effllm
