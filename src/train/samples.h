// Texts that a model writes while it is trained: samples/step_000000100.txt.
#pragma once
#include "train/live_run.h"

namespace effllm {

class SampleTexts final : public Observer {
 public:
  explicit SampleTexts(LiveRun& run) : run_(run) {}
  void after_step(const StepReport&) override {
    if (due(run_.at.step, run_.x.config.train.sample_every)) write();
  }
  void write();
  bool written() const;  // that of the step at hand

 private:
  std::filesystem::path file() const;

  LiveRun& run_;
  bool said_context_ = false;
};

}  // namespace effllm
