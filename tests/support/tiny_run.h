// Training runs that take a fraction of a second: a corpus made on the spot, and a small hybrid.
#pragma once
#include <filesystem>
#include <string>
#include <string_view>

#include "data/corpus.h"
#include "store/temp_folder.h"

namespace effllm::test {

// Lines of ten words that repeat with variations; documents end with an empty line. ASCII.
std::string tiny_text(int lines = 400);

// A folder with data/tiny.yaml (80 % train, 10 % val) and c.yaml, which trains on it.
struct TinyFolder {
  TempFolder folder;
  explicit TinyFolder(const std::string& name, std::string_view config = TinyFolder::kTinyConfig);
  std::filesystem::path operator/(const std::string& file) const { return folder.path / file; }
  std::filesystem::path runs() const { return folder.path / "runs"; }

  // d_model 16, three mixers, 100 steps of 4 x 16 tokens.
  static const std::string_view kTinyConfig;
};

}  // namespace effllm::test
