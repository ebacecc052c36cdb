// Samples of a task, as a configuration would make them.
#pragma once
#include <doctest/doctest.h>

#include <functional>

#include "data/task_data.h"

namespace effllm::test {

// "{type: parity, length: 8}" with this seed.
inline TaskData made(const std::string& yaml, uint64_t seed = 1) {
  return {all_tasks.read(parse_config(yaml, "task")), seed};
}

// The answer that a solver gives to each place that it thinks is scored, kIgnoredTarget elsewhere.
using Solver = std::function<std::vector<int32_t>(const std::vector<int32_t>& tokens)>;

// Each of many samples has exactly the targets that the solver finds; the split is told by its number.
inline void check_solved(const TaskData& task, const Solver& solver, int64_t count = 300) {
  for (int64_t i = 0; i < count; ++i) {
    CAPTURE(i);
    const Sample s = task.sample(static_cast<Split>(i % 3), i);
    REQUIRE(s.targets == solver(s.tokens));
  }
}

// Counts that should be alike are within five standard deviations of their mean.
inline void check_even(const std::map<int64_t, int64_t>& counts, int64_t kinds) {
  double all = 0;
  for (const auto& [value, n] : counts) all += static_cast<double>(n);
  const double mean = all / static_cast<double>(kinds);
  CHECK(static_cast<int64_t>(counts.size()) == kinds);
  for (const auto& [value, n] : counts) {
    CAPTURE(value);
    CHECK(std::abs(static_cast<double>(n) - mean) < 5 * std::sqrt(mean));
  }
}

}  // namespace effllm::test
