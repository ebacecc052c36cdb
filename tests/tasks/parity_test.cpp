#include <numeric>

#include "support/messages.h"
#include "tasks/made.h"

using namespace effllm;
using namespace effllm::test;

TEST_CASE("parity: the sum of the bits so far tells each answer, and every length comes as often") {
  for (const bool every : {false, true}) {
    const TaskData task =
        made(fmt::format("{{type: parity, length: 12, min_length: 5, scored: {}}}", every ? "every" : "last"));
    check_solved(task, [&](const std::vector<int32_t>& bits) {
      std::vector<int32_t> answers(bits.size(), kIgnoredTarget);
      for (size_t i = 0; i < bits.size(); ++i)
        if (every || i + 1 == bits.size())
          answers[i] = std::accumulate(bits.begin(), bits.begin() + static_cast<int64_t>(i) + 1, 0) % 2;
      return answers;
    });
    std::map<int64_t, int64_t> lengths, answers;
    for (int64_t i = 0; i < 4000; ++i) {
      const Sample s = task.sample(Split::test, i);
      ++lengths[static_cast<int64_t>(s.tokens.size())];
      ++answers[s.targets.back()];
    }
    check_even(lengths, 8);
    check_even(answers, 2);
    CHECK(lengths.begin()->first == 5);
    const TaskData longer = task.of_length(30);
    for (int64_t i = 0; i < 20; ++i) CHECK(longer.sample(Split::val, i).tokens.size() == 30);
  }
  CHECK(has(message_of<ConfigError>([] { made("{type: parity, length: 4, min_length: 5}"); }), "above data.length 4"));
}
