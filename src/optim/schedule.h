// The learning rate as a pure function of how far the run is.
#pragma once
#include <span>

#include "config/named.h"
#include "config/options.h"

namespace effllm {

struct ScheduleOptions final : Options {
  std::string type = "cosine";
  int64_t warmup = 100;
  double final_lr = 0.1;
  void visit(OptionVisitor& v) override;
};

// The factor on the base learning rate at `step` (from 0), with `progress` in [0, 1) of the horizon done. During
// warm-up (steps, linear from lr/(warmup+1)) the schedule's own shape waits; cosine then falls from 1 to final_lr over
// what is left of the horizon, as in nanoGPT (Loshchilov and Hutter 2017, arXiv:1608.03983, without restarts).
double schedule_factor(const ScheduleOptions& o, int64_t step, double progress);

std::span<const NamedInfo> all_schedules();

}  // namespace effllm
