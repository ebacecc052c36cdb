// Runs a program as a user would: arguments, a folder, what it writes, how it ends.
#pragma once
#include <sys/types.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "store/temp_folder.h"

namespace effllm::test {

using effllm::has;
using effllm::slurp;
using effllm::spill;

using Words = std::vector<std::string>;
Words with(Words a, const Words& more);
Words sets(const Words& changes);  // "--set" before each

struct Ended {
  int code;  // exit code, or 128 + signal
  std::string out, err;
  bool says(std::string_view text) const { return has(err, text); }
  bool shows(std::string_view text) const { return has(out, text); }
};

struct Surroundings {
  std::filesystem::path folder;                                // working directory
  std::vector<std::pair<std::string, std::string>> variables;  // of the environment, beside this process's
  int64_t file_limit = 0;                                      // largest file that may be written, in bytes; 0: any
  std::string out_to = "", err_to = "";                        // instead of being captured: a path, or "-": closed
  bool nohup = false;                                          // hangups are ignored from the start
};

// A program that runs; its output goes to files in the folder.
class Process {
 public:
  Process(const std::vector<std::string>& command, const Surroundings& in);
  ~Process();  // kills it where it still runs
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  void signal(int number) const;
  bool running();
  Ended wait();

 private:
  pid_t pid_;
  int status_ = 0;
  bool ended_ = false;
  std::filesystem::path out_, err_;
};

Ended run_command(const std::vector<std::string>& command, const Surroundings& in);
// Until `file` is there and holds `text`, at most a minute; false where that was in vain.
bool await_text(const std::filesystem::path& file, const std::string& text);
// The value of "key":... in a line of JSON, without its quotes; empty where there is none.
std::string json_value(const std::string& json, const std::string& key);

}  // namespace effllm::test
