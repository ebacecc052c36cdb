// How much memory a run will take, from shapes alone.
#pragma once
#include <string_view>
#include <vector>

#include "decode/context_limit.h"
#include "eval/evaluator.h"
#include "optim/optimizer.h"
#include "train/run_config.h"

namespace effllm {

// Sizes of the corpus, as far as they are known: without it, evaluation is counted for one batch of full windows.
struct TextSizes {
  int64_t bytes = 0, train_tokens = 0, eval_tokens = 0;
};

struct MemoryPart {
  std::string_view what;  // "evaluation"
  double bytes;
  std::string_view remedy;  // keys that make it smaller
};

struct MemoryPlan {
  std::vector<MemoryPart> parts;
  std::vector<size_t> step_buffers;  // bytes of each that a thread needs for a step of training
  double total() const;
};

// Upper bounds of what the process takes from the system: parameters with gradients and moments, and for every thread
// what its pool keeps for a shard's forward and backward, for evaluation and for samples, one after the other; and what
// a checkpoint takes while it is written.
// `model` is `config.model` on shapes alone. `added_up` gets the names of what a step adds up.
MemoryPlan plan_memory(const RunConfig& config, LanguageModel& model, int workers, const TextSizes& text = {},
                       Ledger* added_up = nullptr);
// Of training steps alone, on so many batches that are kept.
double step_bytes(const RunConfig& config, int64_t vocab, int workers, int64_t batches);
// Of a model that is only read: scoring a text of so many tokens, and continuing a prompt.
double evaluation_bytes(const RunConfig& config, int64_t vocab, const EvalOptions& options, int64_t tokens,
                        int workers);
double sample_bytes(const RunConfig& config, int64_t vocab, int64_t prompt, int64_t tokens, const ContextLimit& limit);

// Numbers held for a parameter: its values, the optimizer's slots, gradients of each lane.
double numbers_of(const Parameter& p, const Choice<OptimizerInfo>& optimizer, size_t lanes);

// Tokens that a row of the batch reads before its carried state starts anew.
int64_t carried_tokens(const RunConfig& config, int64_t train_tokens);

}  // namespace effllm
