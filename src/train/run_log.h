// What a run tells: lines to the terminal and log.txt, rows and events to the journal.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/terminal.h"
#include "store/file.h"
#include "store/journal.h"

namespace effllm {

struct RunLog {
  explicit RunLog(bool quiet) : terminal(quiet) {}
  void say(const std::string& line);  // to the terminal and log.txt
  void note(std::string text);        // said now, and kept as an event once there is a journal
  void warn(int64_t step, double seconds, const std::string& text);  // said, and an event of the journal

  StatusLine terminal;
  std::unique_ptr<AppendFile> file;  // log.txt; null where nothing is written
  std::unique_ptr<Journal> journal;  // the same
  std::vector<std::string> notes;    // kept for the journal
};

}  // namespace effllm
