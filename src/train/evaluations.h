// The evaluations of a training run: their rows, and which weights are the best.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "eval/evaluator.h"
#include "train/guess_watch.h"
#include "train/live_run.h"

namespace effllm {

class Evaluations final : public Observer {
 public:
  Evaluations(LiveRun& run, const GuessWatch& guess) : run_(run), guess_(guess) {}
  void after_step(const StepReport&) override {
    if (due(run_.at.step)) evaluate();
  }
  bool due(int64_t step) const { return Observer::due(step, run_.x.config.train.eval_every); }
  void evaluate();  // once a step
  // The journal holds evaluations up to step `journaled`; `anew`: those that come are by other means, or on other data.
  void resumed(int64_t journaled, bool anew);
  std::vector<Measured> row(const EvalResult& r) const;
  // The best loss so far as "1.2345 bits/char"; empty where this process evaluated nothing.
  std::string best_bits() const;

 private:
  void record(const EvalResult& r);  // in the journal

  LiveRun& run_;
  const GuessWatch& guess_;
  int64_t evaluated_ = -1, journaled_ = -1;  // steps
  bool anew_ = false;
  std::optional<EvalResult> last_;
};

}  // namespace effllm
