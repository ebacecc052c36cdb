// What `effllm eval` says and keeps.
#pragma once
#include <filesystem>
#include <string>

#include "base/json.h"
#include "eval/baselines.h"
#include "eval/evaluator.h"
#include "train/eval_target.h"

namespace effllm::app {

// A run's own settings have the plain name, and each departure from them is in the name: no result takes the place of
// one that was measured otherwise.
std::string result_file_name(const LoadedModel& m, const EvalTarget& target, const EvalOptions& o,
                             const std::vector<int64_t>& lengths = {});

nlohmann::json result_json(const LoadedModel& m, const EvalTarget& target, const EvalOptions& o, const EvalResult& r);
void add_baselines(nlohmann::json& j, const Baselines& all);
// Of the likelihood of the text's order, beside a bound.
void add_left_to_right(nlohmann::json& j, const EvalResult& r);
void print_left_to_right(const EvalResult& r);
// What each token costs given all others that it may see.
void add_pseudo_likelihood(nlohmann::json& j, const EvalResult& r);
void print_pseudo_likelihood(const EvalResult& r);
// Of the tokens that training would choose, beside the causal choice: no likelihood, for it looks ahead.
void add_training_choice(nlohmann::json& j, const EvalResult& r);
void print_training_choice(const EvalResult& r);
// Of the model that ends after each of its layers.
void add_exits(nlohmann::json& j, const EvalResult& r);
void print_exits(const EvalResult& r);
void print_result(const LoadedModel& m, const EvalTarget& target, const EvalOptions& o, const EvalResult& r);

// Writes the result beside the run. A folder that can't be written is a warning: no reason to fail. False then.
bool keep_result(const std::filesystem::path& file, const nlohmann::json& result);

}  // namespace effllm::app
