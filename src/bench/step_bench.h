// The speed of a training step, as a ratio to what the machine did beside it.
#pragma once
#include <filesystem>
#include <memory>

#include "autodiff/profile.h"
#include "bench/timing.h"
#include "train/run_config.h"
#include "train/trainer.h"

namespace effllm {

// A configuration's model and trainer on batches that the bench makes: token t+1 follows token t by a fixed rule nine
// times in ten, so that losses fall and say something.
class StepBench {
 public:
  static constexpr int64_t kBatches = 20;  // then they repeat
  StepBench(const RunConfig& config, int64_t vocab);

  // Trains on the next batch, at the configuration's learning rate without schedule; throws NumericalError where the
  // loss is not finite. Curricula are where they are half way through a run.
  struct Step {
    double seconds, loss;
    double flops;  // of this step: model_flops_per_token, with the exits that it has
  };
  Step step();
  // Initial weights and the batches, as "inputs" and "targets" i32 [kBatches, B, T], for programs that train the same.
  // Metadata `config`: the resolved configuration; `decayed`: names of the parameters with weight decay.
  void save_inputs(const std::filesystem::path& file) const;

  int64_t parameters() const { return model_.params().count(); }
  double tokens() const { return static_cast<double>(config_.train.batch * config_.train.context); }
  double flops() const { return flops_at(done_); }  // of the next step

 private:
  RunConfig config_;
  LanguageModel model_;
  std::unique_ptr<Objective> objective_;
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<Trainer> trainer_;
  std::vector<Batch> batches_;
  double flops_at(int64_t step) const;
  double flops_, exit_flops_;  // of a step without exits, of each
  int64_t done_ = 0;
};

struct StepTimings {
  Quantiles seconds, gflops, p1024, ratio;  // gflops: model FLOPs over time; ratio: over P_1024 just before and after
  size_t repetitions = 0;
  double first_step_s = 0;  // from the start of the process to the end of the first step
  double peak_bytes = 0;    // resident, of the process after three steps
  double predicted_bytes = 0;
  bool contended = false;
};

// At least `repetitions` steps and `seconds`, three steps of warming up first.
StepTimings time_steps(StepBench& bench, double predicted_bytes, int64_t repetitions, double seconds);

// Seconds since this process started, and the most memory it has held.
double process_age();
double process_peak_bytes();

}  // namespace effllm
