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

bool colours_wanted(int fd) {
  const char* no = std::getenv("NO_COLOR");
  return is_terminal(fd) && !(no && *no);
}

StatusLine::StatusLine(bool quiet) : quiet_(quiet), terminal_(is_terminal(STDERR_FILENO)) {}
StatusLine::~StatusLine() { clear(); }

void StatusLine::update(std::string_view text) {
  if (quiet_) return;
  const auto now = std::chrono::steady_clock::now();
  const double since = std::chrono::duration<double>(now - last_).count();
  if (any_ && since < (terminal_ ? 0.1 : plain_seconds)) return;
  any_ = true;
  last_ = now;
  if (terminal_) {
    const auto width = static_cast<size_t>(std::max(1, terminal_columns() - 1));
    fmt::print(stderr, "\r{}\x1b[K", text.substr(0, width));
    drawn_ = true;
  } else {
    fmt::print(stderr, "{}\n", text);
  }
  std::fflush(stderr);
}

void StatusLine::print(std::string_view line) {
  if (quiet_) return;
  clear();
  fmt::print(stderr, "{}\n", line);
  std::fflush(stderr);
}

void StatusLine::clear() {
  if (!drawn_) return;
  fmt::print(stderr, "\r\x1b[K");
  std::fflush(stderr);
  drawn_ = false;
}

}  // namespace effllm
