// One run on its way: trained, scored on the split that is chosen on, scored on the one that is reported.
#pragma once
#include <memory>
#include <optional>
#include <string>

#include "store/file.h"
#include "sweep/child.h"
#include "sweep/plan.h"
#include "sweep/study_folder.h"

namespace effllm {

enum class JobEnd { done, failed, stopped, in_use };

class Job {
 public:
  // Takes the run's lock, and no more: LockedError where another process has it.
  Job(const Plan& plan, const PlannedRun& run, const StudyFolder& folder, int threads);
  const PlannedRun& run() const { return run_; }
  double elapsed() const;  // seconds since it began
  void start();
  void stop() { child_->stop(); }
  // Goes on to the next program where one has ended; how it ended when all have, after its files are written.
  // `stopping`: no further program is to begin.
  std::optional<JobEnd> poll(bool stopping);

 private:
  enum class Stage { train, choose, report };
  void begin(Stage stage);
  std::string stage_name() const;
  std::filesystem::path output(Stage stage) const;
  void keep_failure(int code) const;
  void keep_result() const;

  const Plan& plan_;
  const PlannedRun& run_;
  StudyFolder folder_;
  int threads_;
  double started_ = 0, stage_started_ = 0;
  double stage_seconds_[3] = {};
  FileLock lock_;
  Stage stage_ = Stage::train;
  std::unique_ptr<Child> child_;
};

// The words that score a run of the study on a split, with training's choice of tokens beside a causal one where they
// differ.
std::vector<std::string> eval_words(const StudyEvalOptions& how, const std::filesystem::path& run,
                                    const std::string& split, int threads);
// SHA-256 of what decides which data training reads, and in which order: runs that share it are pairs.
std::string data_order_hash(const RunConfig& config);

}  // namespace effllm
