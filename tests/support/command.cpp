#include "support/command.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <sstream>

namespace effllm::test {
namespace {

std::atomic<int> counter{0};

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
  const int out = open(out_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644),
            err = open(err_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  dup2(out, 1);
  dup2(err, 2);
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

void Process::signal(int number) const { kill(pid_, number); }

bool Process::running() {
  if (!ended_) ended_ = waitpid(pid_, &status_, WNOHANG) == pid_;
  return !ended_;
}

Ended Process::wait() {
  if (!ended_) waitpid(pid_, &status_, 0);
  ended_ = true;
  return {WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_), read_text(out_), read_text(err_)};
}

Ended run_command(const std::vector<std::string>& command, const Surroundings& in) {
  return Process(command, in).wait();
}

std::string read_text(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

void write_text(const std::filesystem::path& file, const std::string& text) {
  std::filesystem::create_directories(file.parent_path());
  std::ofstream(file, std::ios::binary) << text;
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

Scratch::Scratch()
    : path(std::filesystem::temp_directory_path() /
           ("effllm-test-" + std::to_string(getpid()) + "-" + std::to_string(counter++))) {
  std::filesystem::create_directories(path);
}
Scratch::~Scratch() {
  std::error_code ignored;
  std::filesystem::remove_all(path, ignored);
}

}  // namespace effllm::test
