#include "support/command.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <thread>

namespace effllm::test {
namespace {

std::atomic<int> counter{0};

// In the child: a stream goes to a file, or is closed.
void redirect(int stream, const std::string& to) {
  if (to == "-") {
    close(stream);
    return;
  }
  const int file = open(to.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (file < 0 || dup2(file, stream) != stream) _exit(126);
  close(file);
}

}  // namespace

Process::Process(const std::vector<std::string>& command, const Surroundings& in) {
  const int n = counter++;
  out_ = in.folder / ("out." + std::to_string(n));
  err_ = in.folder / ("err." + std::to_string(n));
  std::vector<char*> argv;
  for (const auto& a : command) argv.push_back(const_cast<char*>(a.c_str()));
  argv.push_back(nullptr);
  pid_ = fork();
  if (pid_ != 0) return;
  if (chdir(in.folder.c_str()) != 0) _exit(126);
  for (int number : {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGPIPE, SIGXFSZ}) std::signal(number, SIG_DFL);
  if (in.nohup) std::signal(SIGHUP, SIG_IGN);
  redirect(STDOUT_FILENO, in.out_to.empty() ? out_.string() : in.out_to);
  redirect(STDERR_FILENO, in.err_to.empty() ? err_.string() : in.err_to);
  setenv("OMP_WAIT_POLICY", "passive", 0);
  for (const auto& [name, value] : in.variables) setenv(name.c_str(), value.c_str(), 1);
  if (in.file_limit > 0) {
    const rlimit limit{static_cast<rlim_t>(in.file_limit), static_cast<rlim_t>(in.file_limit)};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  execv(argv[0], argv.data());
  _exit(127);
}

Process::~Process() {
  if (ended_) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, &status_, 0);
}

void Process::signal(int number) const {
  if (!ended_) kill(pid_, number);  // the number of one that ended may be another process by now
}

bool Process::running() {
  if (!ended_) ended_ = waitpid(pid_, &status_, WNOHANG) == pid_;
  return !ended_;
}

Ended Process::wait() {
  if (!ended_) waitpid(pid_, &status_, 0);
  ended_ = true;
  return {WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_), slurp(out_), slurp(err_)};
}

Words with(Words a, const Words& more) {
  a.insert(a.end(), more.begin(), more.end());
  return a;
}

Words sets(const Words& changes) {
  Words all;
  for (const std::string& c : changes) all.insert(all.end(), {"--set", c});
  return all;
}

Ended run_command(const std::vector<std::string>& command, const Surroundings& in) {
  return Process(command, in).wait();
}

bool await_text(const std::filesystem::path& file, const std::string& text) {
  for (int i = 0; i < 12000; ++i) {
    if (std::filesystem::exists(file) && slurp(file).find(text) != std::string::npos) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return false;
}

std::string json_value(const std::string& json, const std::string& key) {
  const std::string quoted = "\"" + key + "\":";
  const auto at = json.find(quoted);
  if (at == json.npos) return "";
  auto from = at + quoted.size();
  while (from < json.size() && json[from] == ' ') ++from;
  const bool text = json[from] == '"';
  from += text;
  return json.substr(from, json.find_first_of(text ? "\"" : ",}", from) - from);
}

}  // namespace effllm::test
