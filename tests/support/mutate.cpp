#include "support/mutate.h"

#include <cstring>
#include <limits>
#include <vector>

namespace effllm::test {

void copy_with_metadata(const std::filesystem::path& from, const std::filesystem::path& to,
                        const std::function<void(MetadataMap&)>& change) {
  const SafetensorsFile file(from);
  MetadataMap metadata = file.metadata();
  metadata.erase("digest");
  change(metadata);
  write_safetensors(to, file.tensors(), metadata);
}

namespace {

// `count` numbers, or all of them where there are fewer.
void copy_changed(const std::filesystem::path& from, const std::filesystem::path& to, const std::string& tensor,
                  float value, size_t count) {
  const SafetensorsFile file(from);
  MetadataMap metadata = file.metadata();
  metadata.erase("digest");
  std::vector<StoredTensor> tensors = file.tensors();
  std::vector<std::byte> bytes;
  for (StoredTensor& t : tensors) {
    if (t.name != tensor) continue;
    bytes.assign(t.data, t.data + t.bytes);
    for (size_t at = 0; at < bytes.size() && at / sizeof value < count; at += sizeof value)
      std::memcpy(bytes.data() + at, &value, sizeof value);
    t.data = bytes.data();
  }
  write_safetensors(to, tensors, metadata);
}

}  // namespace

void copy_with_number(const std::filesystem::path& from, const std::filesystem::path& to, const std::string& tensor,
                      float value) {
  copy_changed(from, to, tensor, value, 1);
}

void copy_with_numbers(const std::filesystem::path& from, const std::filesystem::path& to, const std::string& tensor,
                       float value) {
  copy_changed(from, to, tensor, value, std::numeric_limits<size_t>::max());
}

}  // namespace effllm::test
