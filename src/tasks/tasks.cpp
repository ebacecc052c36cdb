#include "tasks/task.h"

#define LIST all_tasks
#define KIND "task"
#define INFO TaskInfo
#define ENTRIES tasks
#define LINES "lists/tasks.def"
#include "config/list.inc"

namespace effllm {

void TaskOptions::visit(OptionVisitor& v) {
  constexpr double kMost = 1 << 30;
  v("train_samples", train_samples,
    "Sets how many samples training has, which come in another order each epoch; 0: each step has new ones.",
    between(0, kMost));
  v("val_samples", val_samples, "Sets how many samples the split val has.", between(1, kMost));
  v("test_samples", test_samples, "Sets how many samples the split test has.", between(1, kMost));
}

Sample unscored(std::vector<int32_t> tokens) {
  Sample s{.tokens = std::move(tokens), .targets = {}};
  s.targets.assign(s.tokens.size(), kIgnoredTarget);
  return s;
}

}  // namespace effllm
