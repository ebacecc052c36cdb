// This program once more, with other words, or another one, in a process group of its own: Ctrl-C reaches it by way of
// stop() alone.
#pragma once
#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace effllm {

struct ChildFiles {
  std::filesystem::path in = "/dev/null";
  std::filesystem::path out;  // written anew
  std::filesystem::path err;  // added to
  std::string program = {};   // another one, found as a shell finds it; empty: this
};

inline constexpr int kNotStarted = 127;  // the code of a program that is not there

class Child {
 public:
  // `words` come after this program's name; of another they are all, its name first. Is asked to stop (SIGTERM) when
  // the thread that starts it ends, as it does where this process is killed. IoError where it can't be started.
  Child(std::vector<std::string> words, const ChildFiles& files);
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child();  // stops it and waits, where it still runs
  // Its exit code, or 128 + the signal that ended it; unset while it runs.
  std::optional<int> ended();
  void stop();  // once: a second request would end a run without a checkpoint

 private:
  pid_t pid_ = -1;
  bool asked_ = false;
  std::optional<int> code_;
};

}  // namespace effllm
