// Reading a whole text.
#pragma once
#include <filesystem>
#include <string>

namespace effllm {

// The bytes of a file. DataError where it is missing or not a file, IoError where it can't be read.
std::string read_text_file(const std::filesystem::path& file);

}  // namespace effllm
