// The safetensors container: u64 length N, N bytes of JSON, then the tensors' bytes end to end, little-endian.
// It knows nothing of tensors in memory; who loads copies out of it (data is not aligned).
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace effllm {

enum class StoredType { f32, f64, i64, i32, u8, boolean, bf16, f16 };

std::string_view stored_type_name(StoredType);  // as in the file: "F32", "BOOL" ...
size_t stored_type_bytes(StoredType);           // of one element

// One tensor in a file, or to be written to one: C order, rank 0 is a scalar, a zero among the sizes is allowed.
struct StoredTensor {
  std::string name;  // [A-Za-z0-9_.\-/], at most 512 characters
  StoredType type = StoredType::f32;
  std::vector<int64_t> shape;
  const std::byte* data = nullptr;  // not owned
  size_t bytes = 0;                 // product(shape) elements
};

// Replaces `path` at once by a file of these tensors, widest elements first, then by name. Sets metadata `digest`: the
// SHA-256 of the JSON (where the digest itself stands as 64 zeros) and of the data. CheckpointError for what the
// reader would refuse, IoError where the disk refuses.
void write_safetensors(const std::filesystem::path& path, std::vector<StoredTensor> tensors,
                       const std::map<std::string, std::string>& metadata);

// A file read whole and checked: the tensors tile the data without hole, overlap or rest. CheckpointError, naming file
// and place, for anything else; IoError where it cannot be read.
class SafetensorsFile {
 public:
  // A metadata `digest` of 64 characters is ours and must be right if `verify_digest`. Files of others have none.
  explicit SafetensorsFile(const std::filesystem::path& path, bool verify_digest = true);
  SafetensorsFile(SafetensorsFile&&) noexcept = default;
  SafetensorsFile& operator=(SafetensorsFile&&) noexcept = default;

  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const std::vector<StoredTensor>& tensors() const { return tensors_; }  // by place in the file; live as long as this
  const StoredTensor* find(std::string_view name) const;                 // null where missing

 private:
  std::unique_ptr<const std::string> bytes_;
  std::map<std::string, std::string> metadata_;
  std::vector<StoredTensor> tensors_;
  std::map<std::string, size_t, std::less<>> index_;
};

}  // namespace effllm
