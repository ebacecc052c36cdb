#include "optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace effllm {
namespace {

constexpr NamedInfo kAll[] = {
    {"constant", "the base rate after warm-up"},
    {"cosine", "from the base rate to final_lr times it along half a cosine"},
};

}  // namespace

void ScheduleOptions::visit(OptionVisitor& v) {
  v("type", type, "Chooses the shape after warm-up.", {"constant", "cosine"});
  v("warmup", warmup, "Sets the steps of linear warm-up.", at_least(0));
  v("final_lr", final_lr, "Says where cosine ends, as a fraction of lr.", between(0, 1));
}

double schedule_factor(const ScheduleOptions& o, int64_t step, double progress) {
  if (step < o.warmup) return static_cast<double>(step + 1) / (static_cast<double>(o.warmup) + 1);
  if (o.type == "constant") return 1;
  // What warm-up took of the horizon, which may be in steps, tokens, FLOPs or seconds.
  const double warm = step > 0 ? progress * static_cast<double>(o.warmup) / static_cast<double>(step) : 0;
  const double p = warm < 1 ? std::clamp((progress - warm) / (1 - warm), 0.0, 1.0) : 1;
  return o.final_lr + (1 - o.final_lr) * 0.5 * (1 + std::cos(std::numbers::pi * p));
}

std::span<const NamedInfo> all_schedules() { return kAll; }

}  // namespace effllm
