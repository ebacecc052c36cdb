// How long the runs of a study will take, from a few steps of each arm.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "sweep/plan.h"
#include "sweep/study_folder.h"

namespace effllm {

struct Forecast {
  std::vector<double> seconds;  // of each run of the plan, with what is not trained: start, evaluations, scores
  double baselines = 0;         // of n-gram models and compressors, once all runs are done; 0: none, or not known
  std::string method;           // "by steps of each arm"
};

// Each arm by the mean of its runs that this folder has times of; the others by steps that are timed now, of `jobs` of
// them at once, as runs will be (sweep/step_time.h). What comes beside steps is counted as forward passes at the same
// rate, three starts of the program, and checkpoints. `scratch`: a folder for what programs say. An arm whose steps
// can't be timed has a time of 0, and is not timed where none of its runs `waits`.
Forecast forecast(const Plan& plan, const StudyFolder& folder, const std::vector<bool>& waits,
                  const std::filesystem::path& scratch, int jobs, int threads);

// Until all of `seconds` are done by `jobs` workers, each of which takes the next that is left.
double makespan(const std::vector<double>& seconds, int jobs);

}  // namespace effllm
