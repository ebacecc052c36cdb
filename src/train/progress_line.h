// The status line of a training run, and its warning where the model learns nothing.
#pragma once
#include <string>

#include "train/guess_watch.h"
#include "train/live_run.h"

namespace effllm {

class ProgressLine final : public Observer {
 public:
  explicit ProgressLine(LiveRun& run) : run_(run) {}
  void after_step(const StepReport& step) override { run_.log.terminal.update(text(step.result)); }

 private:
  std::string text(const StepResult& step) const;
  LiveRun& run_;
};

class GuessWarning final : public Observer {
 public:
  explicit GuessWarning(LiveRun& run)
      : run_(run), watch_(run.x.tokenizer->vocab_size(), run.x.config.schedule.type.build()->warmup()) {}
  void after_step(const StepReport&) override {
    if (const auto text = watch_.after(run_.at.step, run_.at.shown_loss); !text.empty())
      run_.log.warn(run_.at.step, run_.at.seconds, text);
  }
  const GuessWatch& watch() const { return watch_; }

 private:
  LiveRun& run_;
  GuessWatch watch_;
};

}  // namespace effllm
