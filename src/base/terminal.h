// Talking to a person: one line that is redrawn on a terminal, plain lines elsewhere. Everything goes to stderr;
// results go to stdout.
#pragma once
#include <chrono>
#include <string>
#include <string_view>

namespace effllm {

bool is_terminal(int fd);
int terminal_columns();       // 80 where unknown
int output_columns();         // of standard output: the terminal's, COLUMNS elsewhere; 0 without either: no limit
bool colours_wanted(int fd);  // a terminal, TERM not dumb, NO_COLOR unset
// Writes to stderr what it takes: a message that nobody can see is no reason to end a run.
void print_stderr(std::string_view text);

class StatusLine {
 public:
  explicit StatusLine(bool quiet = false);
  ~StatusLine();
  StatusLine(const StatusLine&) = delete;
  StatusLine& operator=(const StatusLine&) = delete;
  // Redraws at most ten times a second on a terminal; elsewhere prints a line at most every `plain_seconds`.
  void update(std::string_view text);
  // What begins now and may take a while: drawn at once on a terminal; elsewhere as update() would, which it does not
  // hold up.
  void phase(std::string_view text);
  void print(std::string_view line);  // a line that stays, above the status; not suppressed by redrawing
  void clear();
  static constexpr double plain_seconds = 10;

 private:
  bool due() const;
  void draw(std::string_view text);
  bool quiet_, terminal_, drawn_ = false, any_ = false;
  std::chrono::steady_clock::time_point last_;
};

}  // namespace effllm
