// Runs of a study as programs of their own: claimed by locks, so that several processes may share a folder; trained,
// scored, and kept as one small file each.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "sweep/plan.h"
#include "sweep/study_folder.h"

namespace effllm {

struct SweepRequest {
  const Plan& plan;
  StudyFolder folder;
  int jobs = 1, threads = 1;    // of each
  bool retry = false;           // also what failed before
  std::vector<double> seconds;  // that each run of the plan will take; 0: not known
  std::function<void(const std::string&)> say = nullptr, show = nullptr;  // a line that stays; the line of progress
};

struct SweepOutcome {
  size_t runs = 0, done = 0, failed = 0;
  size_t in_use = 0;                  // by another process
  size_t stopped = 0;                 // by a signal, with a checkpoint
  std::vector<std::string> failures;  // a line each
  int failed_code = 0;                // of the first in the order of the plan; 128 + a signal
  bool interrupted = false;           // this process was asked to stop
};

// Until every run is done or failed, or this process is asked to stop (Signals): then runs end with a checkpoint, and
// go on when the study is called again.
SweepOutcome sweep(const SweepRequest& request);

// What became of a run, by its files: done, failed, running, stopped (begun, and nobody works on it) or waiting.
std::string status_of(const StudyFolder& folder, const std::string& run);
// "1.9312 bits/char", with <= before a bound
std::string score_text(const nlohmann::json& score);
// "RUN: train ended with exit code 6: what it said last"
std::string failure_line(const nlohmann::json& failure);

}  // namespace effllm
