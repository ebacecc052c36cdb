// Metadata of a checkpoint, read like any input: what is missing, of another type or out of range is a CheckpointError
// that names the file and the field.
#pragma once
#include <cstdint>
#include <string>

#include "base/error.h"
#include "store/safetensors.h"

namespace effllm {

// The largest count that can be meant: 2^53, up to which journals and HDF5 files hold every integer.
inline constexpr int64_t kMostCounted = int64_t{1} << 53;

class Metadata {
 public:
  // `path` is for the messages.
  Metadata(const SafetensorsFile& file, std::string path) : all_(file.metadata()), path_(std::move(path)) {}

  bool has(const std::string& key) const { return all_.contains(key); }
  const std::string& text(const std::string& key) const;
  int64_t integer(const std::string& key, int64_t least = 0, int64_t most = kMostCounted) const;
  double number(const std::string& key, double least = 0) const;  // finite
  double number_or_nan(const std::string& key) const;             // finite, or "nan"
  std::string digest(const std::string& key) const;               // of 64 lower-case hexadecimal digits
  // "FILE: the metadata's `key` is `value`: `what`".
  [[noreturn]] void refuse(const std::string& key, const std::string& what) const;

 private:
  const std::map<std::string, std::string>& all_;
  std::string path_;
};

}  // namespace effllm
