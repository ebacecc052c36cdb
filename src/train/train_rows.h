// The rows of training in the journal, every train.log_every steps: the mean of their losses; the norm is the last
// step's, as those of experts are, which are computed for rows alone; what layers add up is that of the last step that
// had it, since not every step has every exit.
#pragma once
#include <vector>

#include "train/live_run.h"

namespace effllm {

class TrainRows final : public Observer {
 public:
  explicit TrainRows(LiveRun& run);
  void after_step(const StepReport& step) override;
  void write();  // the row so far; nothing where nothing was learned since the last, or this program took no step
  std::vector<Measured> row() const;

 private:
  void keep_newest(const std::vector<Measured>& rows);

  LiveRun& run_;
  // Since the last row. The sums of losses are in RunCounters, because a checkpoint may cut a row in two.
  double seconds_ = 0, lr_ = 0, grad_norm_ = 0;
  int64_t tokens_ = 0;
  std::vector<Measured> added_up_;  // by the last steps that learned
  bool first_ = true;               // the next step is the first of a row
  bool learned_ = false;            // the last step has
};

}  // namespace effllm
