// The JSON part of a safetensors file, and the limits that reader and writer share.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/safetensors.h"

namespace effllm {

struct SafetensorsLimits {
  static constexpr uint64_t kHeaderBytes = 16 << 20;
  static constexpr size_t kTensors = 100'000;
  static constexpr size_t kRank = 8;
  static constexpr size_t kNameBytes = 512;
};

struct SafetensorsEntry {
  std::string name;
  StoredType type = StoredType::f32;
  std::vector<int64_t> shape;
  uint64_t begin = 0, end = 0;  // within the data
};

struct SafetensorsHeader {
  std::map<std::string, std::string> metadata;
  std::vector<SafetensorsEntry> entries;  // by place: entry i begins where entry i-1 ends
};

bool valid_tensor_name(std::string_view name);
// Bytes of a tensor; nothing where the product does not fit in 63 bits. Zeros count as ones in that check, so that
// strides of an accepted shape never overflow either.
std::optional<uint64_t> tensor_bytes(StoredType type, const std::vector<int64_t>& shape);
// Parses hostile text, which must describe exactly `data_bytes` bytes. CheckpointError beginning with `file`.
SafetensorsHeader parse_safetensors_header(std::string_view text, uint64_t data_bytes, const std::string& file);

}  // namespace effllm
