#include "store/safetensors.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <span>
#include <tuple>

#include "base/error.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/text.h"
#include "store/file.h"
#include "store/safetensors_header.h"

namespace effllm {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors is little-endian; this machine needs a swap");

constexpr size_t kLengthBytes = 8, kDigestCharacters = 64, kAlignment = 64;
const std::string kBeforeDigest = "{\"__metadata__\":{\"digest\":\"";  // how a file of ours begins

// More than this cannot be a file of ours, and to read it would end the process, not the attempt.
int64_t physical_memory() { return int64_t{::sysconf(_SC_PHYS_PAGES)} * ::sysconf(_SC_PAGESIZE); }

std::string quoted(const std::string& text, const std::string& file) {
  try {
    return nlohmann::json(text).dump();
  } catch (const nlohmann::json::exception&) {
    throw CheckpointError("{}: metadata text `{}` is not UTF-8", file, printable(text.substr(0, 80)));
  }
}

// The reader's rules, applied before anything is written.
void check_writable(const std::vector<StoredTensor>& tensors, const std::string& file) {
  if (tensors.size() > SafetensorsLimits::kTensors)
    throw CheckpointError("{}: {} tensors; a file holds at most {}", file, tensors.size(), SafetensorsLimits::kTensors);
  std::map<std::string_view, int> seen;
  for (const StoredTensor& t : tensors) {
    if (!valid_tensor_name(t.name)) throw CheckpointError("{}: `{}` is not a tensor name", file, printable(t.name));
    if (seen[t.name]++) throw CheckpointError("{}: two tensors have the name `{}`", file, t.name);
    const auto bytes = tensor_bytes(t.type, t.shape);
    if (t.shape.size() > SafetensorsLimits::kRank || !bytes || *bytes != t.bytes || (t.bytes > 0 && !t.data))
      throw CheckpointError("{}: tensor `{}` of {} bytes does not fit its shape and type", file, t.name, t.bytes);
  }
}

// The JSON with the digest as zeros, padded with spaces so that the data begins at a multiple of 64.
std::string header_text(const std::vector<StoredTensor>& tensors, const std::map<std::string, std::string>& metadata,
                        const std::string& file) {
  std::string text = kBeforeDigest + std::string(kDigestCharacters, '0') + '"';
  for (const auto& [key, value] : metadata)
    if (key != "digest") text += fmt::format(",{}:{}", quoted(key, file), quoted(value, file));
  text += '}';
  uint64_t begin = 0;
  for (const StoredTensor& t : tensors) {
    text += fmt::format(",\"{}\":{{\"dtype\":\"{}\",\"shape\":[{}],\"data_offsets\":[{},{}]}}", t.name,
                        stored_type_name(t.type), fmt::join(t.shape, ","), begin, begin + t.bytes);
    begin += t.bytes;
  }
  text += '}';
  text.append((kAlignment - (kLengthBytes + text.size()) % kAlignment) % kAlignment, ' ');
  if (text.size() > SafetensorsLimits::kHeaderBytes)
    throw CheckpointError("{}: a header of {} bytes; at most {}", file, text.size(), SafetensorsLimits::kHeaderBytes);
  return text;
}

// Integrity, not authenticity: whoever rewrites a file on purpose can write the digest that goes with it.
void check_digest(std::string header, std::span<const std::byte> data, const std::string& stored,
                  const std::string& file) {
  const size_t at = header.find(fmt::format("\"{}\"", stored));
  if (at != std::string::npos) header.replace(at + 1, kDigestCharacters, kDigestCharacters, '0');
  Sha256 hash;
  hash.update(header);
  hash.update(data);
  if (at == std::string::npos || hash.hex() != stored)
    throw CheckpointError("{}: the content does not match its digest, so the file is damaged; use an older one", file);
}

}  // namespace

void write_safetensors(const std::filesystem::path& path, std::vector<StoredTensor> tensors,
                       const std::map<std::string, std::string>& metadata) {
  const std::string file = printable(path.string());
  check_writable(tensors, file);
  std::ranges::sort(tensors, [](const StoredTensor& a, const StoredTensor& b) {
    const size_t wide_a = stored_type_bytes(a.type), wide_b = stored_type_bytes(b.type);
    return std::tie(wide_b, a.name) < std::tie(wide_a, b.name);
  });
  std::string header = header_text(tensors, metadata, file);

  Sha256 hash;
  hash.update(header);
  for (const StoredTensor& t : tensors) hash.update(std::span(t.data, t.bytes));
  header.replace(kBeforeDigest.size(), kDigestCharacters, hash.hex());

  const uint64_t length = header.size();
  std::vector<std::span<const std::byte>> pieces = {std::as_bytes(std::span(&length, 1)),
                                                    std::as_bytes(std::span(header))};
  for (const StoredTensor& t : tensors) pieces.emplace_back(t.data, t.bytes);
  write_file_atomic(path, pieces);
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path, bool verify_digest)
    : bytes_(std::make_unique<const std::string>(read_file(path, physical_memory()))) {
  const std::string file = printable(path.string());
  const std::string& all = *bytes_;
  if (all.size() < kLengthBytes)
    throw CheckpointError("{}: {}: too few for a safetensors file", file,
                          counted(static_cast<int64_t>(all.size()), "byte"));
  uint64_t length = 0;
  std::memcpy(&length, all.data(), kLengthBytes);
  if (length > SafetensorsLimits::kHeaderBytes || length > all.size() - kLengthBytes)
    throw CheckpointError("{}: the header's length {} exceeds the file ({}) or the limit of {}", file, length,
                          counted(static_cast<int64_t>(all.size()), "byte"), SafetensorsLimits::kHeaderBytes);

  const std::string_view text(all.data() + kLengthBytes, length);
  const auto data = std::as_bytes(std::span(all)).subspan(kLengthBytes + length);
  SafetensorsHeader header = parse_safetensors_header(text, data.size(), file);
  if (const auto stored = header.metadata.find("digest");
      verify_digest && stored != header.metadata.end() && stored->second.size() == kDigestCharacters)
    check_digest(std::string(text), data, stored->second, file);

  metadata_ = std::move(header.metadata);
  for (SafetensorsEntry& e : header.entries) {
    index_.emplace(e.name, tensors_.size());
    tensors_.push_back(
        {std::move(e.name), e.type, std::move(e.shape), data.data() + e.begin, static_cast<size_t>(e.end - e.begin)});
  }
}

const StoredTensor* SafetensorsFile::find(std::string_view name) const {
  const auto it = index_.find(name);
  return it == index_.end() ? nullptr : &tensors_[it->second];
}

}  // namespace effllm
