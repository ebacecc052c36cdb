// The folder of a study: what is where, and whether a study is still the one that it was made for.
#pragma once
#include <filesystem>
#include <optional>
#include <string>

#include "base/json.h"
#include "sweep/plan.h"

namespace effllm {

// FOLDER/ study.yaml plan.json confirm.json baselines.json, and of each run configs/RUN.yaml, results/RUN.json (no
// times in it), timings/RUN.json, predicted/RUN.json (before it began), failed/RUN.json, runs/RUN/ (its run folder),
// work/RUN/ (its lock, its log, what its programs say).
class StudyFolder {
 public:
  explicit StudyFolder(std::filesystem::path path) : path_(std::move(path)) {}
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path plan() const { return path_ / "plan.json"; }
  std::filesystem::path confirm() const { return path_ / "confirm.json"; }
  std::filesystem::path baselines() const { return path_ / "baselines.json"; }
  std::filesystem::path config(const std::string& run) const { return path_ / "configs" / (run + ".yaml"); }
  std::filesystem::path result(const std::string& run) const { return path_ / "results" / (run + ".json"); }
  std::filesystem::path timing(const std::string& run) const { return path_ / "timings" / (run + ".json"); }
  std::filesystem::path prediction(const std::string& run) const { return path_ / "predicted" / (run + ".json"); }
  std::filesystem::path failure(const std::string& run) const { return path_ / "failed" / (run + ".json"); }
  std::filesystem::path runs() const { return path_ / "runs"; }
  std::filesystem::path run(const std::string& run) const { return runs() / run; }
  std::filesystem::path work(const std::string& run) const { return path_ / "work" / run; }

  // Makes it where it is missing, and keeps what is planned. Under a lock, so that several may begin at once.
  // ConfigError, key by key, where runs that have begun would be others, or no longer there. Runs that have not begun
  // may change or go; their number. LockedError where one of them is just being begun.
  int64_t take(const Plan& plan) const;
  // Whether the run is still what the folder keeps: another process may have taken a study that has changed. To be
  // asked with the run's lock held.
  bool keeps(const PlannedRun& run) const;
  // Keeps held-out runs too (sweep/held_out.h). ConfigError where there are others.
  void take_held_out(const Plan& held_out) const;
  // Throws where take() would refuse, and writes nothing.
  void require_same(const Plan& plan) const;

 private:
  std::filesystem::path path_;
};

// A file's JSON object, at most 16 MiB. DataError where it is none; unset where there is no such file.
std::optional<nlohmann::json> read_object_if_there(const std::filesystem::path& file);
nlohmann::json read_object(const std::filesystem::path& file);  // DataError where there is none
// With indents and a line break at its end, at once.
void write_object(const std::filesystem::path& file, const nlohmann::json& object);

}  // namespace effllm
