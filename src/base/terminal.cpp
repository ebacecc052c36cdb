#include "base/terminal.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace effllm {

bool is_terminal(int fd) {
  const char* term = std::getenv("TERM");
  return isatty(fd) == 1 && !(term && std::string_view(term) == "dumb");
}

int terminal_columns() {
  winsize size{};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  const char* env = std::getenv("COLUMNS");
  const int n = env ? std::atoi(env) : 0;
  return n > 0 ? n : 80;
}

int output_columns() {
  winsize size{};
  if (isatty(STDOUT_FILENO) == 1)
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
  const char* env = std::getenv("COLUMNS");
  return env ? std::max(0, std::atoi(env)) : 0;
}

bool colours_wanted(int fd) {
  const char* no = std::getenv("NO_COLOR");
  return is_terminal(fd) && !(no && *no);
}

void print_stderr(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
}

StatusLine::StatusLine(bool quiet) : quiet_(quiet), terminal_(is_terminal(STDERR_FILENO)) {}
StatusLine::~StatusLine() { clear(); }

void StatusLine::update(std::string_view text) {
  if (quiet_ || !due()) return;
  any_ = true;
  last_ = std::chrono::steady_clock::now();
  draw(text);
}

void StatusLine::phase(std::string_view text) {
  if (!quiet_ && (terminal_ || due())) draw(text);
}

bool StatusLine::due() const {
  const double since = std::chrono::duration<double>(std::chrono::steady_clock::now() - last_).count();
  return !any_ || since >= (terminal_ ? 0.1 : plain_seconds);
}

void StatusLine::draw(std::string_view text) {
  if (terminal_) {
    const auto width = static_cast<size_t>(std::max(1, terminal_columns() - 1));
    print_stderr(fmt::format("\r{}\x1b[K", text.substr(0, width)));
    drawn_ = true;
  } else {
    print_stderr(fmt::format("{}\n", text));
  }
}

void StatusLine::print(std::string_view line) {
  if (quiet_) return;
  clear();
  print_stderr(fmt::format("{}\n", line));
}

void StatusLine::clear() {
  if (!drawn_) return;
  print_stderr("\r\x1b[K");
  drawn_ = false;
}

}  // namespace effllm
