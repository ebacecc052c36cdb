// What `effllm eval --lengths` says of a text: how a model does that is given more of it, or less, than in training.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "base/json.h"
#include "eval/evaluator.h"
#include "train/eval_target.h"

namespace effllm::app {

struct TextLength {
  int64_t length = 0;                     // tokens of a window
  int64_t state_bytes = 0, kv_bytes = 0;  // of one sequence after so many; of these rows of tokens
  EvalResult result;                      // with two bands of contexts: training's, and longer ones
};

// The evaluation with windows of so many tokens, one for each length. ConfigError where the text, the model, its
// objective or the protocol has no such.
std::vector<EvalOptions> with_lengths(const LoadedModel& m, const Objective& objective, const EvalTarget& target,
                                      const EvalOptions& o, const std::vector<int64_t>& lengths);
std::vector<TextLength> at_text_lengths(const LoadedModel& m, const Objective& objective, const EvalTarget& target,
                                        const std::vector<EvalOptions>& all,
                                        const std::function<void(const std::string&)>& show);
void add_text_lengths(nlohmann::json& j, const std::vector<TextLength>& all, int64_t trained);
void print_text_lengths(const std::vector<TextLength>& all, int64_t trained);

}  // namespace effllm::app
