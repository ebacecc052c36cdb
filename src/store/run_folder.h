// A run's folder: what is where, who may write, which checkpoints there are.
#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "store/file.h"
#include "store/safetensors.h"

namespace effllm {

class RunFolder {
 public:
  explicit RunFolder(std::filesystem::path path) : path_(std::move(path)) {}
  // <runs>/<name>; or, with `fresh`, the first of name, name-2, name-3 ... that does not exist yet. Nothing is made.
  static RunFolder choose(const std::filesystem::path& runs, const std::string& name, bool fresh);
  // The same, made where missing.
  static RunFolder create(const std::filesystem::path& runs, const std::string& name, bool fresh);

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path config() const { return path_ / "config.yaml"; }
  std::filesystem::path resolved() const { return path_ / "config.resolved.yaml"; }
  std::filesystem::path overrides() const { return path_ / "overrides.txt"; }
  std::filesystem::path provenance() const { return path_ / "provenance.json"; }
  std::filesystem::path journal() const { return path_ / "metrics.jsonl"; }
  std::filesystem::path metrics() const { return path_ / "metrics.h5"; }
  std::filesystem::path log() const { return path_ / "log.txt"; }
  std::filesystem::path status() const { return path_ / "status.json"; }
  std::filesystem::path samples() const { return path_ / "samples"; }
  std::filesystem::path evaluations() const { return path_ / "eval"; }
  std::filesystem::path best() const { return path_ / "ckpt" / "best.safetensors"; }
  std::filesystem::path checkpoint(int64_t step) const;

  // Removes what interrupted writes left behind; with the lock held. Returns how many files there were.
  int64_t sweep() const;
  // Steps of the checkpoints that exist, ascending.
  std::vector<int64_t> steps() const;
  // The newest that reads and verifies; those that don't are named in `refused`.
  std::optional<int64_t> newest_valid(std::vector<std::string>& refused) const;
  // Makes best.safetensors the checkpoint of this step.
  void mark_best(int64_t step) const;
  // Gives best.safetensors, where there is one, the name best_until_STEP.safetensors; which that is.
  std::optional<std::filesystem::path> set_best_aside(int64_t step) const;
  // Removes all but the newest `keep`. The best is a file of its own.
  void rotate(int64_t keep) const;

 private:
  std::filesystem::path path_;
};

// The checkpoint that a user means: a file, or of a run folder its best (or newest) one. CheckpointError where there is
// none.
std::filesystem::path find_checkpoint(const std::filesystem::path& run_or_file);

}  // namespace effllm
