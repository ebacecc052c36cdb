#include "store/export_folder.h"

#include "base/error.h"

namespace effllm {

void begin_export(const std::filesystem::path& folder, std::initializer_list<const char*> files, bool replace) {
  std::error_code error;
  for (const char* file : files)
    if (!replace && std::filesystem::exists(std::filesystem::symlink_status(folder / file, error)))
      throw ConfigError("{} exists: choose another folder (--output), or replace it with --force",
                        (folder / file).string());
  std::filesystem::create_directories(folder, error);
  if (error)
    throw IoError("the folder {} can't be made: {}; choose another (--output)", folder.string(), error.message());
}

}  // namespace effllm
