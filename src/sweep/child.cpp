#include "sweep/child.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "store/file.h"

namespace effllm {
namespace {

namespace fs = std::filesystem;

FileDescriptor opened(const fs::path& file, int flags) {
  FileDescriptor f(open(file.c_str(), flags | O_CLOEXEC, 0644));
  if (!f.is_open()) throw IoError("{}: {}", file.string(), std::strerror(errno));
  return f;
}

int code_of(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status); }

}  // namespace

Child::Child(std::vector<std::string> words, const ChildFiles& files) {
  const FileDescriptor in = opened(files.in, O_RDONLY), out = opened(files.out, O_WRONLY | O_CREAT | O_TRUNC),
                       err = opened(files.err, O_WRONLY | O_CREAT | O_APPEND);
  if (files.program.empty()) words.insert(words.begin(), "effllm");
  std::vector<char*> all;
  for (std::string& word : words) all.push_back(word.data());
  all.push_back(nullptr);
  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ < 0) throw IoError("a run can't be started: {}", std::strerror(errno));
  if (pid_ > 0) return;
  // Other threads may have held any lock of a library: calls of the system alone from here on.
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) _exit(128 + SIGTERM);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  for (const int number : {SIGPIPE, SIGXFSZ}) std::signal(number, SIG_DFL);
  if (dup2(in.number(), 0) != 0 || dup2(out.number(), 1) != 1 || dup2(err.number(), 2) != 2) _exit(126);
  if (files.program.empty())
    execv("/proc/self/exe", all.data());  // the file that runs here, also where another has its name by now
  else
    execvp(files.program.c_str(), all.data());
  _exit(kNotStarted);
}

Child::~Child() {
  if (code_) return;
  stop();
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
}

std::optional<int> Child::ended() {
  int status = 0;
  if (!code_ && waitpid(pid_, &status, WNOHANG) == pid_) code_ = code_of(status);
  return code_;
}

void Child::stop() {
  if (!std::exchange(asked_, true) && !code_) kill(pid_, SIGTERM);
}

}  // namespace effllm
