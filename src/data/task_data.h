// The data of a task (`data.task`): its splits as texts of one sample after the other, made when they are asked for.
#pragma once
#include <memory>
#include <string>

#include "data/corpus.h"
#include "tasks/task.h"

namespace effllm {

class TaskData {
 public:
  // ConfigError where the options of the task do not fit each other.
  TaskData(const Choice<TaskInfo>& task, uint64_t seed);
  const TaskInfo& info() const { return choice_.info(); }
  const Task& task() const { return *task_; }
  // All options and the seed, in one line: "{type: mqar, pairs: [4], ...}, seed 1".
  const std::string& settings() const { return settings_; }
  int64_t samples(Split) const;  // train: 0 where each step has new ones
  Sample sample(Split, int64_t number) const;
  // The samples of a split, each a row of task().longest() tokens, and one token more, which objectives look ahead to.
  // Of train as many as val has, or all where it has fewer.
  TokenizedText text(Split) const;
  std::unique_ptr<Tokenizer> tokenizer() const;
  // SHA-256 of the samples of val and test, and of the first of train, at most kHashed.
  std::string sha256() const;
  static constexpr int64_t kHashed = 1000;
  // The same task with samples of the length `n` alone, as TaskFacts::length says; ConfigError where it has none.
  TaskData of_length(int64_t n) const;

 private:
  Choice<TaskInfo> choice_;
  uint64_t seed_;
  std::unique_ptr<Task> task_;
  std::string settings_;
};

// Tokens and targets of a sample as a row of so many tokens: what is behind it is no token of its own and not scored.
void append_row(const Sample& sample, int64_t tokens, std::vector<int32_t>& inputs, std::vector<int32_t>& labels);

}  // namespace effllm
