// What would take more memory than there is is refused before it takes any, with what to change.
#pragma once
#include "train/memory_plan.h"

namespace effllm {

// MemoryError where the plan doesn't fit `limit`: it names what takes the most, its place in the configuration, and
// the keys that make it smaller.
void require_memory(const RunConfig& config, int64_t vocab, const MemoryPlan& plan, double limit);

// The same for a model that is there already, against memory_limit(): scoring a text of `tokens` tokens, and
// continuing a prompt.
void require_evaluation(const RunConfig& config, int64_t vocab, const EvalOptions& options, int64_t tokens);
void require_samples(const RunConfig& config, int64_t vocab, int64_t prompt, int64_t tokens, const ContextLimit& limit);

}  // namespace effllm
