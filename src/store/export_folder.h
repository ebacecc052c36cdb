// Where files for other programs are written.
#pragma once
#include <filesystem>
#include <initializer_list>

namespace effllm {

// Makes `folder` where it is missing. ConfigError, unless `replace`, where one of these files is in it already;
// IoError, with path and reason, where it can't be made.
void begin_export(const std::filesystem::path& folder, std::initializer_list<const char*> files, bool replace);

}  // namespace effllm
