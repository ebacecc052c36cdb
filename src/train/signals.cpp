#include "train/signals.h"

#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <limits>

#include "base/clock.h"
#include "base/terminal.h"
#include "kernels/parallel.h"

namespace effllm {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();
std::atomic<double> stop_at = kNever;
std::atomic<bool> checkpoint = false, ending = false;

// Ends the watcher. A real-time signal, because nothing else sends those.
int wake_up() { return SIGRTMIN; }

bool is_ignored(int number) {
  struct sigaction current {};
  return sigaction(number, nullptr, &current) == 0 && current.sa_handler == SIG_IGN;
}

// A blocked signal waits even where it is ignored: what is ignored must not be taken in.
sigset_t watched() {
  sigset_t set;
  sigemptyset(&set);
  for (int number : {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2})
    if (!is_ignored(number)) sigaddset(&set, number);
  sigaddset(&set, wake_up());
  return set;
}

void watch(const sigset_t& set, const std::string& answer) {
  while (!ending) {
    int number = 0;
    if (sigwait(&set, &number) != 0 || number == wake_up()) continue;
    const bool again = stop_at < kNever;
    if (number == SIGINT && again) _exit(130);
    if (number == SIGUSR2) {
      checkpoint = true;
    } else if (!again) {
      stop_at = seconds_now();
      print_stderr(answer);
    }
  }
}

// On the calling thread and on those that regions run on.
void set_mask_everywhere(const sigset_t& mask) {
  run_workers(threads(), [&](int) { pthread_sigmask(SIG_SETMASK, &mask, nullptr); });
}

}  // namespace

Signals::Signals(std::string answer) {
  ending = false;
  for (int number : {SIGPIPE, SIGXFSZ}) std::signal(number, SIG_IGN);
  const sigset_t set = watched();
  pthread_sigmask(SIG_BLOCK, &set, &before_);  // first, so that threads which start now inherit it
  sigset_t mask;
  pthread_sigmask(SIG_BLOCK, nullptr, &mask);
  set_mask_everywhere(mask);
  watcher_ = std::thread(watch, set, std::move(answer));
}

Signals::~Signals() {
  ending = true;
  pthread_kill(watcher_.native_handle(), wake_up());
  watcher_.join();
  stop_at = kNever;
  checkpoint = false;
  set_mask_everywhere(before_);
}

bool Signals::stop_requested() { return stop_at < kNever; }
double Signals::stop_requested_at() { return stop_at; }
bool Signals::checkpoint_requested() { return checkpoint.exchange(false); }

}  // namespace effllm
