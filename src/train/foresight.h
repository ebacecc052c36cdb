// What can be said of a run before its first step.
#pragma once
#include <optional>
#include <string>

#include "train/run_config.h"

namespace effllm {

// Steps until the horizon, where it is not in seconds. `samples_per_epoch`: rows of one pass over the training split.
std::optional<double> expected_steps(const RunConfig& config, double flops_per_token, double samples_per_epoch);

// "optim.schedule.warmup: ..." where the warm-up is longer than the run, whose learning rate is then never reached.
// Empty otherwise.
std::string warmup_doubt(const RunConfig& config, std::optional<double> steps);

// "one step will last at least 4 minutes ..." where it will last half a minute or more at the rate of this machine's
// matrix products, which are timed for it. Empty otherwise.
std::string long_step_note(const RunConfig& config, double flops_per_token);

}  // namespace effllm
