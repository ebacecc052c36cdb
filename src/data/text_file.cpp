#include "data/text_file.h"

#include <limits>

#include "base/error.h"
#include "store/file.h"

namespace effllm {

std::string read_text_file(const std::filesystem::path& file) {
  std::error_code failure;
  const auto type = std::filesystem::status(file, failure).type();
  if (type == std::filesystem::file_type::not_found) throw DataError("there is no file {}", file.string());
  if (failure) throw IoError("cannot examine {}: {}", file.string(), failure.message());
  if (type != std::filesystem::file_type::regular) throw DataError("{} is not a file", file.string());
  return read_file(file, std::numeric_limits<int64_t>::max() - 1);
}

}  // namespace effllm
