// The steps of a run: the next batch, the trainer, what is counted, and what becomes of a step that is not finite.
#pragma once
#include <optional>

#include "train/live_run.h"
#include "train/step_patience.h"

namespace effllm {

class Steps {
 public:
  Steps(LiveRun& run, double patience)
      : run_(run), schedule_(run.x.config.schedule.type.build()), patience_(patience) {}
  // Unset: it was given up, because somebody asked the run to stop. NumericalError after too many in a row that were
  // not finite.
  std::optional<StepReport> next();

 private:
  std::optional<StepResult> take(const Batch& batch, double factor, bool continues, double progress);
  void skip(const Batch& batch);  // after a step that was not finite: says where, ends the run after too many

  LiveRun& run_;
  std::unique_ptr<Schedule> schedule_;
  StepPatience patience_;
};

}  // namespace effllm
