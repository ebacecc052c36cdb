// What tells one corpus from another: its text, where its splits end, and where its documents begin; or the samples of
// a task and what they were made of. A result belongs to these, not to the name or the place of a manifest.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace effllm {

struct CorpusIdentity {
  std::string sha256;                         // of the text, or of samples of the task
  std::optional<int64_t> train_end, val_end;  // bytes, as in Manifest; unset: not recorded
  std::optional<std::string> separator;       // of documents; unset: not recorded
  std::string task = {};                      // TaskData::settings, which has none of these; empty: a text

  bool complete() const { return !task.empty() || (train_end && val_end && separator); }
  std::string hash() const;  // SHA-256 of all of it, where it is complete
};

// What differs, one line each, old and new: "train ended at byte 900, now at 500". What one of them doesn't record is
// not compared.
std::vector<std::string> differences(const CorpusIdentity& then, const CorpusIdentity& now);

}  // namespace effllm
