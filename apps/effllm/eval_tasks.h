// What `effllm eval` says of a task: how many answers are right, by what samples differ in, and on longer samples.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "base/json.h"
#include "commands.h"
#include "data/task_data.h"
#include "eval/evaluator.h"
#include "train/loaded_model.h"

namespace effllm::app {

// ConfigError for options that a model of a task has no use for, or one of a text.
void refuse_for_task(const LoadedModel& m, const EvalArgs& args);

void add_answers(nlohmann::json& j, const TaskData& task, Split split, const TokenizedText& text, const EvalResult& r);
void print_answers(const TaskData& task, Split split, const TokenizedText& text, const EvalResult& r);

struct LengthResult {
  int64_t length;
  EvalResult result;
};
// On samples of the split that have these lengths. ConfigError where the task or the model has no such.
std::vector<LengthResult> at_lengths(const LoadedModel& m, const Objective& objective, const TaskData& task,
                                     Split split, EvalOptions o, const std::vector<int64_t>& lengths,
                                     const std::function<void(const std::string&)>& show);
void add_lengths(nlohmann::json& j, const std::vector<LengthResult>& all);
void print_lengths(const std::vector<LengthResult>& all, const TaskData& task);

}  // namespace effllm::app
