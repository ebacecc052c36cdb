#include "train/signals.h"

#include <unistd.h>
#include <csignal>
#include <initializer_list>

namespace effllm {
namespace {

volatile std::sig_atomic_t stops = 0;
volatile std::sig_atomic_t checkpoints = 0;

void on_stop(int signal) {
  if (signal == SIGINT && stops) _exit(130);
  stops = 1;
}
void on_checkpoint(int) { checkpoints = 1; }

}  // namespace

Signals::Signals() {
  stops = 0;
  checkpoints = 0;
  for (int s : {SIGINT, SIGTERM, SIGHUP, SIGUSR1})
    if (std::signal(s, on_stop) == SIG_IGN) std::signal(s, SIG_IGN);
  std::signal(SIGUSR2, on_checkpoint);
  for (int s : {SIGPIPE, SIGXFSZ}) std::signal(s, SIG_IGN);
}

Signals::~Signals() {
  for (int s : {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2})
    if (std::signal(s, SIG_DFL) == SIG_IGN) std::signal(s, SIG_IGN);
}

bool Signals::stop_requested() { return stops != 0; }

bool Signals::checkpoint_requested() {
  if (!checkpoints) return false;
  checkpoints = 0;
  return true;
}

}  // namespace effllm
