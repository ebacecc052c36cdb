// How evaluation cuts a text up. Arithmetic alone, so that it can be asked before there is any memory for it.
#pragma once
#include <cstdint>
#include <vector>

#include "eval/eval_options.h"

namespace effllm {

// Inputs [begin, end) of the text; the targets of inputs [scored, end) count.
struct Window {
  int64_t begin, end, scored;
  int64_t length() const { return end - begin; }
};

class EvalPlan {
 public:
  // Of a text of so many inputs, at least 1. The sizes of `options` are in their ranges.
  EvalPlan(const EvalOptions& options, int64_t inputs);

  // Windows in the order of the text. All but the last have T inputs, and begin one stride after the one before.
  int64_t windows() const { return windows_; }
  Window window(int64_t i) const;

  // Consecutive windows [first, last) of one length, which go through the model together.
  struct Task {
    int64_t first, last;
  };
  int64_t tasks() const { return tasks_; }
  Task task(int64_t i) const;
  int workers(int threads) const;  // that share the tasks

  bool carried() const { return carried_; }  // the state goes from each task to the next
  int64_t inputs() const { return inputs_; }

  // The sizes [windows, tokens] that tasks have, each once, that of the first task first.
  struct Size {
    int64_t windows, tokens;
  };
  std::vector<Size> sizes() const;

 private:
  int64_t inputs_, length_, stride_, batch_;
  bool carried_;
  int64_t windows_, full_;  // full_: those of T inputs
  int64_t tasks_;
};

// Inputs that are scored of a text of so many that could be.
int64_t scored_inputs(const EvalOptions& options, int64_t inputs);
// Inputs from one window to the next.
int64_t stride_of(const EvalOptions& options);

}  // namespace effllm
