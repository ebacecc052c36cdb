// Signals become requests that the training loop reads between steps.
#pragma once

namespace effllm {

class Signals {
 public:
  // While alive: INT, TERM, HUP and USR1 ask to stop with a checkpoint, USR2 for a checkpoint; a second INT ends the
  // process at once. What the process was started to ignore stays ignored (nohup). PIPE and XFSZ are ignored: writes
  // report their errors.
  Signals();
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;
  static bool stop_requested();
  static bool checkpoint_requested();  // once for each request
};

}  // namespace effllm
