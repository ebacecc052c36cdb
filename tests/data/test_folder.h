// A temporary folder for the tests of corpora.
#pragma once
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace effllm::test {

// Empty at first, removed with all it holds at the end.
class TestFolder {
 public:
  TestFolder() : path_(std::filesystem::temp_directory_path() / ("effllm_corpus_test." + std::to_string(::getpid()))) {
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
  }
  ~TestFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TestFolder(const TestFolder&) = delete;
  TestFolder& operator=(const TestFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path put(const std::string& name, const std::string& content) const {
    std::filesystem::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name, std::ios::binary) << content;
    return path_ / name;
  }

 private:
  std::filesystem::path path_;
};

}  // namespace effllm::test
