// A checkpoint with one thing changed and a right digest: what somebody edited, or another program wrote.
#pragma once
#include <filesystem>
#include <functional>
#include <map>
#include <string>

#include "store/safetensors.h"

namespace effllm::test {

using MetadataMap = std::map<std::string, std::string>;

// Writes `from` to `to` with its metadata changed.
void copy_with_metadata(const std::filesystem::path& from, const std::filesystem::path& to,
                        const std::function<void(MetadataMap&)>& change);
// Writes `from` to `to` with all numbers of a tensor of f32 changed, or the first.
void copy_with_numbers(const std::filesystem::path& from, const std::filesystem::path& to, const std::string& tensor,
                       float value);
void copy_with_number(const std::filesystem::path& from, const std::filesystem::path& to, const std::string& tensor,
                      float value);

}  // namespace effllm::test
