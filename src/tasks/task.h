// Tasks: samples that a program makes, of which some targets are scored. What a sample holds is a function of the
// task's options, the seed of the data, the split and the number of the sample, and of nothing else.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/list.h"
#include "objectives/batch.h"
#include "tasks/draws.h"

namespace effllm {

struct Sample {
  std::vector<int32_t> tokens, targets;  // of one length, at least 1; a target of kIgnoredTarget is not scored
  int64_t difficulty = 0;                // as TaskFacts::difficulty says
};

// What all tasks have; options of a task derive from it.
struct TaskOptions : Options {
  int64_t train_samples = 0, val_samples = 1000, test_samples = 1000;
  void visit(OptionVisitor& v) override;
};

class Task {
 public:
  virtual ~Task() = default;
  virtual int64_t vocab() const = 0;
  virtual std::string symbol(int32_t id) const = 0;  // how a token is written: one word, another for each
  virtual int64_t longest() const = 0;               // tokens of a sample, at most
  virtual Sample sample(Draws& draws) const = 0;
  // What the targets of a sample cost who knows the rule that made them, where that does not tell them for sure; of
  // answers that are as likely the first counts. Unset: nothing, and all are right.
  struct Known {
    double nats = 0;
    int64_t right = 0;
  };
  virtual std::optional<Known> known(const Sample&) const { return {}; }
};

struct TaskFacts {
  std::string_view name, title;
  std::string_view paper, source, deviations;
  std::string_view difficulty = "";  // what Sample::difficulty counts, in the plural; empty: nothing
  // The option that makes samples longer; where there is a `min_` of it too, all samples can be of one length.
  std::string_view length = "length";
  // True where every scored target is the token after it, so that a model can write the rest of a sample.
  bool continues = false;
};

// Built of its options and the seed of the data, which what all samples share comes from. ConfigError where options do
// not fit each other.
using TaskInfo = Entry<Task, TaskFacts, uint64_t>;
extern const List<TaskInfo> all_tasks;

// A sample of `tokens` none of whose targets is scored.
Sample unscored(std::vector<int32_t> tokens);

}  // namespace effllm
