// A run while it goes: what is trained, how far it is, where it tells. And what looks at it after each step.
#pragma once
#include <optional>
#include <string>
#include <utility>

#include "base/clock.h"
#include "store/run_folder.h"
#include "train/experiment.h"
#include "train/run_log.h"
#include "train/run_record.h"

namespace effllm {

// Shares the time that passes out among accounts, so that none is counted twice and none is missing.
class LapClock {
 public:
  double lap(double& account) {  // adds the time since the last lap; returns the time, seconds of seconds_now()
    const double now = seconds_now();
    account += now - std::exchange(last_, now);
    return now;
  }
  double last() const { return last_; }

 private:
  double last_ = seconds_now();
};

// Where a run's weights and data come from, beyond its configuration: as in RunRecord.
struct Lineage {
  int defaults = kCheckpointVersion;
  std::string earlier_data, grown;
  std::optional<Origin> origin;
};

// What rows of all kinds have.
inline constexpr Metric kTrainedTokens{"tokens", "tokens", "tokens trained on so far"},
    kTrainSeconds{"wall_s", "s", "time of training steps so far"},
    kSaveSeconds{"save_s", "s", "time of checkpoints and files so far"},
    kOtherSeconds{"other_s", "s", "time of all else so far, such as evaluations"};

struct LiveRun {
  LiveRun(RunConfig config, bool quiet);
  double epochs() const { return x.order->epochs(at.samples); }
  Spent spent() const { return {at.step, at.tokens, epochs(), at.flops, at.seconds}; }
  double progress() const { return x.config.train.progress(spent()); }

  LapClock clock;
  RunLog log;
  Experiment x;
  RunFolder folder{""};
  Lineage lineage;
  RunCounters at;
};

// What a step did.
struct StepReport {
  StepResult result;
  double lr = 0, seconds = 0;
};

// Looks at a run after each step. Observers come in a fixed order: what a checkpoint is to hold comes before it.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void after_step(const StepReport& step) = 0;

 protected:
  // Whether something that happens every so many steps happens after this one; 0: never.
  static bool due(int64_t step, int64_t every) { return every > 0 && step % every == 0; }
};

}  // namespace effllm
