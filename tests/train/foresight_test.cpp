#include "train/foresight.h"

#include <doctest/doctest.h>

using namespace effllm;

namespace {

RunConfig config(const std::string& horizon, int64_t warmup = 50) {
  return read_run_config(parse_config(
      "model: {d_model: 16, layers: [{mixer: min_gru}]}\noptim: {schedule: {warmup: " + std::to_string(warmup) +
          "}}\ntrain: {batch: 4, context: 10, " + horizon + "}\n",
      "c.yaml"));
}

}  // namespace

TEST_CASE("foresight: the steps of every horizon but time") {
  const auto steps = [](const std::string& horizon) { return expected_steps(config(horizon), 1e6, 30); };
  CHECK(steps("max_steps: 7") == 7);
  CHECK(steps("max_tokens: 401") == 11);
  CHECK(steps("max_epochs: 2.5") == 19);  // 75 rows, 4 a step
  CHECK(steps("max_flops: 8.1e7") == 3);  // 4e7 a step
  CHECK_FALSE(steps("max_time: 5"));
}

TEST_CASE("foresight: a warm-up longer than the run is doubted, whatever the horizon") {
  const auto doubt = [](const std::string& horizon, int64_t warmup) {
    const RunConfig c = config(horizon, warmup);
    return warmup_doubt(c, expected_steps(c, 1e6, 30));
  };
  CHECK(doubt("max_steps: 49", 50).find("warmup is 50 steps, but the run has 49") != std::string::npos);
  CHECK(doubt("max_steps: 50", 50).empty());
  CHECK_FALSE(doubt("max_tokens: 400", 11).empty());
  CHECK(doubt("max_tokens: 401", 11).empty());
  CHECK_FALSE(doubt("max_epochs: 1", 9).empty());
  CHECK_FALSE(doubt("max_flops: 1e8", 9).empty());
  CHECK(doubt("max_time: 1", 100000).empty());
}

TEST_CASE("foresight: a step that takes minutes is foretold, a short one is not") {
  RunConfig c = config("max_steps: 1");
  CHECK(long_step_note(c, 1e8).empty());             // 4e9 FLOPs
  const std::string note = long_step_note(c, 1e18);  // 4e19: hours on anything
  CHECK(note.find("one step of 40 tokens takes at least") == 0);
  CHECK(note.find("train.batch") != note.npos);
}
