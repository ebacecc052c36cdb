// A run that goes on from another's checkpoint with a larger model (`effllm grow`).
#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "config/difference.h"

namespace effllm {

struct GrownRun {
  std::filesystem::path from, checkpoint;  // the one that was read, the one that was written
  int64_t step = 0, parameters_before = 0, parameters = 0;
  std::vector<ConfigChange> changes;
  std::vector<std::string> other_function;  // as in GrownConfig
};

// Writes the run folder `folder`: a checkpoint with the weights, moments and counters of `run_or_checkpoint` in a model
// that `set` makes larger, and its configuration, from which training goes on (--resume auto). `[*]` in a path of `set`
// is every layer that has it. ConfigError where something else than tokens changes, or the folder holds
// something already.
GrownRun grow(const std::filesystem::path& run_or_checkpoint, const std::vector<std::string>& set,
              const std::filesystem::path& folder);

// How two models differ as functions: over a window of the text that the second was trained on, or random tokens.
struct FunctionChange {
  double largest = 0, logits = 0;  // difference of a logit, and logit of the first
  int64_t tokens = 0;
  bool text = false;  // else tokens are random
  // Nats per token of that text; unset for random tokens, and where no logits are those of a next token.
  std::optional<double> loss_before, loss_after;
};
FunctionChange function_change(const std::filesystem::path& before, const std::filesystem::path& after);

}  // namespace effllm
