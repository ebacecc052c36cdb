#include <algorithm>

#include "support/messages.h"
#include "tasks/made.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr int32_t kNone = kIgnoredTarget;

}  // namespace

TEST_CASE("copying: what stands before the sign is the answer after it, and every length comes as often") {
  const TaskData task = made("{type: copying, vocab: 5, length: 7, min_length: 2}");
  std::map<int64_t, int64_t> lengths, symbols;
  check_solved(
      task,
      [&](const std::vector<int32_t>& tokens) {
        const auto n = static_cast<size_t>(std::ranges::find(tokens, 4) - tokens.begin());
        CHECK(tokens.size() == 2 * n);
        std::vector<int32_t> answers(tokens.size(), kNone);
        for (size_t i = 0; i < n; ++i) {
          answers[n + i] = tokens[i];
          ++symbols[tokens[i]];
        }
        ++lengths[static_cast<int64_t>(n)];
        return answers;
      },
      3000);
  check_even(lengths, 6);
  check_even(symbols, 4);
  CHECK(has(message_of<ConfigError>([] { made("{type: copying, length: 3, min_length: 4}"); }), "above data.length 3"));
}

TEST_CASE("selective copying: the symbols between blanks are the answers, in their order, wherever they stand") {
  for (const bool each : {false, true}) {
    const TaskData task = made(fmt::format("{{type: selective_copying, vocab: 6, length: 14, symbols: 3, marker: {}}}",
                                           each ? "each" : "first"));
    std::map<int64_t, int64_t> places;
    check_solved(
        task,
        [&](const std::vector<int32_t>& tokens) {
          CHECK(tokens.size() == 14);
          const auto sign = static_cast<size_t>(std::ranges::find(tokens, 5) - tokens.begin());
          CHECK(sign == (each ? 11 : 10));
          CHECK(std::ranges::count(tokens, 5) == (each ? 3 : 1));
          std::vector<int32_t> symbols;
          for (size_t i = 0; i < sign; ++i)
            if (tokens[i] < 4) {
              symbols.push_back(tokens[i]);
              ++places[static_cast<int64_t>(i)];
            }
          REQUIRE(symbols.size() == 3);
          std::vector<int32_t> answers(14, kNone);
          std::ranges::copy(symbols, answers.begin() + 11);
          return answers;
        },
        3000);
    check_even(places, each ? 11 : 10);
  }
  CHECK(has(message_of<ConfigError>([] { made("{type: selective_copying, length: 32, symbols: 16}"); }),
            "give at least 33"));
  CHECK_NOTHROW(made("{type: selective_copying, length: 32, symbols: 16, marker: each}"));
}

TEST_CASE("induction heads: the sign stands twice, and what followed it the first time is the answer") {
  const TaskData task = made("{type: induction_heads, vocab: 4, length: 9}");
  std::map<int64_t, int64_t> places, values;
  check_solved(
      task,
      [&](const std::vector<int32_t>& tokens) {
        CHECK(tokens.size() == 9);
        CHECK(std::ranges::count(tokens, 3) == 2);
        CHECK(tokens.back() == 3);
        const auto at = static_cast<size_t>(std::ranges::find(tokens, 3) - tokens.begin());
        std::vector<int32_t> answers(9, kNone);
        answers.back() = tokens[at + 1];
        ++places[static_cast<int64_t>(at)];
        ++values[answers.back()];
        return answers;
      },
      3000);
  check_even(places, 7);
  check_even(values, 3);
}
