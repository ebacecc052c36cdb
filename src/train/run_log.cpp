#include "train/run_log.h"

#include "base/version.h"

namespace effllm {

void RunLog::say(const std::string& line) {
  terminal.print(line);
  if (file) file->append(utc_now() + "  " + line);
}

void RunLog::note(std::string text) {
  say(text);
  notes.push_back(std::move(text));
}

void RunLog::warn(int64_t step, double seconds, const std::string& text) {
  if (journal) journal->event(step, "warning", text, seconds);
  say(text);
}

}  // namespace effllm
