// The checkpoints of a training run: when they are due, and what they hold.
#pragma once
#include <cstdint>
#include <optional>

#include "train/evaluations.h"
#include "train/run_files.h"

namespace effllm {

class Checkpoints final : public Observer {
 public:
  Checkpoints(LiveRun& run, RunFiles& files, const Evaluations& evaluations)
      : run_(run), files_(files), evaluations_(evaluations) {}
  // Saves after evaluations, every train.save_every steps and train.save_seconds seconds, and on SIGUSR2.
  void after_step(const StepReport&) override;
  void begin() { saved_at_ = run_.clock.last(); }  // train.save_seconds count from here
  void save();                                     // unless there is a checkpoint of this step and this best already
  // The run goes on from a checkpoint of this step. `aside`: its best is the last of another model, or on other data,
  // and gets a name of its own with the next checkpoint.
  void resumed(bool aside);

 private:
  void mark_best_again();

  LiveRun& run_;
  RunFiles& files_;
  const Evaluations& evaluations_;
  double saved_at_ = 0;  // seconds of the clock
  int64_t saved_step_ = -1, saved_best_ = -1;
  std::optional<int64_t> aside_;
};

}  // namespace effllm
