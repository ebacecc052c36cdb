#include "data/text_file.h"

#include <fstream>

#include "base/error.h"

namespace effllm {

std::string read_text_file(const std::filesystem::path& file) {
  std::error_code failure;
  if (!std::filesystem::is_regular_file(file, failure)) throw DataError("there is no file {}", file.string());
  std::ifstream in(file, std::ios::binary | std::ios::ate);
  std::string content(in ? static_cast<size_t>(in.tellg()) : 0, '\0');
  in.seekg(0);
  in.read(content.data(), static_cast<std::streamsize>(content.size()));
  if (!in) throw IoError("can't read {}: check its permissions", file.string());
  return content;
}

}  // namespace effllm
