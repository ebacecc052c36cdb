// Sizes that are alike in measured time: of the machine that measured, solved for once, and kept in the study's folder.
#pragma once
#include <memory>
#include <optional>
#include <string>

#include "store/file.h"
#include "sweep/step_time.h"
#include "sweep/study_folder.h"

namespace effllm {

class TimedSizes {
 public:
  struct Size {
    double value = 0;  // of match.key
    double ratio = 0;  // of its time for a token of training to that wanted
  };
  // Reads what FOLDER/match/sizes.json keeps. With `writes` it holds that folder's lock, for which it waits: whoever
  // else begins the study meanwhile gets the same sizes. Steps are timed with `threads` threads.
  TimedSizes(const StudyFolder& folder, int threads, bool writes);
  // ConfigError where sizes are kept of another `match`.
  std::optional<Size> kept(const MatchOptions& match, const std::string& arm) const;
  void keep(const MatchOptions& match, const std::string& arm, const Size& size);
  // Seconds of training for a token, of `config` by those of `like`: lower quartiles of steps that two programs take
  // side by side, so that what else runs slows down both. Without `like`, of `config` alone by `seconds`. Unset where
  // steps can't be timed.
  std::optional<double> ratio(const RunConfig& config, const RunConfig* like, double seconds) const;

 private:
  std::filesystem::path file_;
  int threads_;
  bool writes_;
  std::unique_ptr<FileLock> lock_;
  ScratchFolder scratch_;
  nlohmann::json kept_;
};

}  // namespace effllm
