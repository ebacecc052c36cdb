// Signals become requests that the training loop reads between steps, and a long step between its ops.
#pragma once
#include <csignal>
#include <string>
#include <thread>

namespace effllm {

// No handler may run on a thread that computes: oneDNN's generated products use the stack pointer as a pointer to
// data, and the kernel writes a handler's frame where it points. While a Signals lives, its signals are therefore
// blocked on every thread, and a thread of its own waits for them.
class Signals {
 public:
  // While alive: INT, TERM, HUP and USR1 ask to stop with a checkpoint, USR2 for a checkpoint; a second INT ends the
  // process at once. What the process was started to ignore stays ignored (nohup). PIPE and XFSZ are ignored: writes
  // report their errors. Threads started later inherit what is blocked, so make it before there are any; those that
  // threads() counts are seen to. `answer` goes to stderr when the first request to stop comes.
  explicit Signals(std::string answer = "");
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;
  static bool stop_requested();
  static double stop_requested_at();   // seconds_now() of the first request; infinite before it
  static bool checkpoint_requested();  // once for each request

 private:
  sigset_t before_;  // what was blocked
  std::thread watcher_;
};

}  // namespace effllm
