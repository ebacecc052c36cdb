#include "store/program.h"

#include <spawn.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "base/error.h"
#include "base/text.h"
#include "store/file.h"

extern char** environ;

namespace effllm {
namespace {

FileDescriptor memory_file(const char* name) {
  FileDescriptor file(memfd_create(name, MFD_CLOEXEC));
  if (!file.is_open()) throw IoError("no room for what a program writes: {}", std::strerror(errno));
  return file;
}

std::string content(const FileDescriptor& file) {
  struct stat about {};
  std::string text(fstat(file.number(), &about) == 0 ? static_cast<size_t>(about.st_size) : 0, '\0');
  size_t have = 0;
  while (have < text.size()) {
    const ssize_t n = pread(file.number(), text.data() + have, text.size() - have, static_cast<off_t>(have));
    if (n <= 0) throw IoError("what a program wrote can't be read: {}", std::strerror(errno));
    have += static_cast<size_t>(n);
  }
  return text;
}

// A program that ends before it has read everything says so by its exit code.
void send_all(const FileDescriptor& to, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = send(to.number(), text.data(), text.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return;
    text.remove_prefix(static_cast<size_t>(n));
  }
}

pid_t start(const std::vector<std::string>& command, const FileDescriptor& in, const FileDescriptor& out,
            const FileDescriptor& err) {
  std::vector<char*> words;
  for (const std::string& word : command) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in.number(), STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, out.number(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, err.number(), STDERR_FILENO);
  pid_t pid = 0;
  const int failure = posix_spawn(&pid, words[0], &actions, nullptr, words.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failure) throw IoError("{} can't be started: {}", command[0], std::strerror(failure));
  return pid;
}

}  // namespace

std::string find_program(std::span<const std::string_view> names) {
  const char* set = std::getenv("PATH");
  const std::string path = set ? set : "/usr/bin:/bin";
  for (const std::string_view name : names)
    for (size_t begin = 0; begin <= path.size();) {
      const size_t end = std::min(path.find(':', begin), path.size());
      const std::filesystem::path file = std::filesystem::path(path.substr(begin, end - begin)) / name;
      std::error_code failure;
      if (std::filesystem::is_regular_file(file, failure) && access(file.c_str(), X_OK) == 0) return file.string();
      begin = end + 1;
    }
  return "";
}

std::string run_program(const std::vector<std::string>& command, std::string_view input) {
  const FileDescriptor out = memory_file("stdout"), err = memory_file("stderr");
  int ends[2] = {};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    throw IoError("no socket for {}: {}", command[0], std::strerror(errno));
  FileDescriptor ours(ends[0]), theirs(ends[1]);
  const pid_t pid = start(command, theirs, out, err);
  theirs.close();
  send_all(ours, input);
  ours.close();
  int status = 0;
  while (waitpid(pid, &status, 0) < 0)
    if (errno != EINTR) throw IoError("{}: {}", command[0], std::strerror(errno));
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return content(out);
  const std::string said = content(err);
  const std::string how = WIFEXITED(status) ? fmt::format("exit code {}", WEXITSTATUS(status))
                                            : fmt::format("ended by signal {}", WTERMSIG(status));
  const std::string_view line = std::string_view(said).substr(0, said.find('\n'));
  throw IoError("{}{}{}", how, line.empty() ? "" : ": ", printable(line.substr(0, 200)));
}

}  // namespace effllm
