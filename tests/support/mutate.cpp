#include "support/mutate.h"

#include <cstring>
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

void copy_with_number(const std::filesystem::path& from, const std::filesystem::path& to, const std::string& tensor,
                      float value) {
  const SafetensorsFile file(from);
  MetadataMap metadata = file.metadata();
  metadata.erase("digest");
  std::vector<StoredTensor> tensors = file.tensors();
  std::vector<std::byte> bytes;
  for (StoredTensor& t : tensors) {
    if (t.name != tensor) continue;
    bytes.assign(t.data, t.data + t.bytes);
    std::memcpy(bytes.data(), &value, sizeof value);
    t.data = bytes.data();
  }
  write_safetensors(to, tensors, metadata);
}

}  // namespace effllm::test
