#include "train/signals.h"

#include <doctest/doctest.h>
#include <pthread.h>

#include <array>

#include "kernels/parallel.h"
#include "support/models.h"

using namespace effllm;

namespace {

// Whether each thread of a region has the signal blocked.
std::array<bool, 3> blocked(int number) {
  std::array<bool, 3> all{};
  run_workers(3, [&](int worker) {
    sigset_t mask;
    pthread_sigmask(SIG_BLOCK, nullptr, &mask);
    all[static_cast<size_t>(worker)] = sigismember(&mask, number) == 1;
  });
  return all;
}

}  // namespace

TEST_CASE("signals: no thread that computes can be interrupted by one, and afterwards all can") {
  const test::Threads three(3);
  constexpr std::array<bool, 3> kAll = {true, true, true}, kNone = {};
  REQUIRE(blocked(SIGTERM) == kNone);  // the threads are there already
  for (int i = 0; i < 2; ++i) {
    {
      const Signals signals;
      for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2}) CHECK(blocked(number) == kAll);
      CHECK(blocked(SIGCHLD) == kNone);
      CHECK_FALSE(Signals::stop_requested());
      CHECK_FALSE(Signals::checkpoint_requested());
    }
    for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2}) CHECK(blocked(number) == kNone);
  }
}

TEST_CASE("signals: what is ignored from the start is left alone") {
  std::signal(SIGHUP, SIG_IGN);
  {
    const Signals signals;
    CHECK_FALSE(blocked(SIGHUP)[0]);
    CHECK(blocked(SIGTERM)[0]);
  }
  const bool still = std::signal(SIGHUP, SIG_DFL) == SIG_IGN;
  CHECK(still);
}
