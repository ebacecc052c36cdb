// What tells one corpus from another: its text, where its splits end, and where its documents begin. A result belongs
// to these, not to the name or the place of a manifest.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace effllm {

struct CorpusIdentity {
  std::string sha256;                         // of the text
  std::optional<int64_t> train_end, val_end;  // bytes, as in Manifest; unset: not recorded
  std::optional<std::string> separator;       // of documents; unset: not recorded

  bool complete() const { return train_end && val_end && separator; }
  std::string hash() const;  // SHA-256 of all of it, where it is complete
};

// What differs, one line each, old and new: "train ended at byte 900, now at 500". What one of them doesn't record is
// not compared.
std::vector<std::string> differences(const CorpusIdentity& then, const CorpusIdentity& now);

}  // namespace effllm
