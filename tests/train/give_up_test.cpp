// A run that is asked to stop in the middle of a step loses that step and nothing else.
#include <doctest/doctest.h>

#include <chrono>
#include <csignal>
#include <thread>

#include "checkpoint/checkpoint.h"
#include "support/models.h"
#include "support/run_calls.h"
#include "train/signals.h"

using namespace effllm;
using namespace effllm::test;
namespace fs = std::filesystem;

namespace {

// Steps of some milliseconds, whose states are carried on; TERM comes `delay` milliseconds after the first step began.
const Sets kRun = {"data.order=streams", "train.carry_state=true", "model.layers[0].mixer.window=5",
                   "model.dropout=0.1",  "train.batch=32",         "train.max_steps=40",
                   "train.log_every=3",  "train.save_every=7",     "eval.max_tokens=64"};

RunOutcome interrupted_after(const TinyFolder& t, int delay) {
  RunRequest r = request(t, with(kRun, {"name=part"}), true);
  r.patience = 0;
  const Signals signals;
  Run run(std::move(r));  // however long it takes on a busy machine
  std::jthread sender([delay] {
    std::this_thread::sleep_for(std::chrono::milliseconds(delay));
    kill(getpid(), SIGTERM);
  });
  RunOutcome done = run.train();
  sender.join();  // a signal that came too late must not meet the next run
  return done;
}

std::vector<std::string> tensors_of(const fs::path& checkpoint) {
  std::vector<std::string> all;
  const SafetensorsFile file(checkpoint);
  for (const auto& x : file.tensors())
    all.push_back(x.name + std::string(reinterpret_cast<const char*>(x.data), x.bytes));
  return all;
}

}  // namespace

TEST_CASE(
    "give up: stopped in the middle of steps and resumed, it is the same run: weights, states, losses, counters") {
  const Threads two(2);
  const TinyFolder t("give_up");
  const RunFolder whole(train(t, with(kRun, {"name=whole"})).folder), part(t.runs() / "part");
  int given_up = 0;
  for (int delay = 1; given_up < 3; ++delay) {
    const RunOutcome done = interrupted_after(t, delay);
    const std::string log = slurp(part.log());
    given_up = 0;
    for (size_t at = 0; (at = log.find(" was given up, ", at)) != log.npos; ++at) ++given_up;
    if (!done.interrupted) break;
    CHECK(part.steps().back() == done.steps);
  }
  CHECK(given_up > 0);
  const RunOutcome done = train(t, with(kRun, {"name=part"}), true);
  CHECK_FALSE(done.interrupted);
  CHECK(tensors_of(part.checkpoint(40)) == tensors_of(whole.checkpoint(40)));
  CHECK(losses(part.path()) == losses(whole.path()));
  CHECK(done.tokens == 40 * 32 * 16);
}
