#include <set>

#include "support/messages.h"
#include "tasks/made.h"

using namespace effllm;
using namespace effllm::test;

namespace {

// Reads the pairs that stand first, and looks the second mention of each key up.
Solver lookup(int64_t vocab, int64_t pairs) {
  return [=](const std::vector<int32_t>& tokens) {
    std::map<int32_t, int32_t> value_of;
    std::set<int32_t> own;
    std::vector<int32_t> answers(tokens.size(), kIgnoredTarget);
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (i < static_cast<size_t>(2 * pairs)) {
        CHECK((tokens[i] < vocab / 2) == (i % 2 == 0));  // key, value, key ...
        CHECK(tokens[i] > 0);
        if (i % 2) value_of[tokens[i - 1]] = tokens[i];
        CHECK(own.insert(tokens[i]).second);  // neither a key nor a value comes again
      } else if (const auto found = value_of.find(tokens[i]); found != value_of.end()) {
        answers[i] = found->second;
        value_of.erase(found);
      } else {
        CHECK(!own.contains(tokens[i]));  // what fills gaps is no part of a pair
      }
    }
    CHECK(value_of.empty());  // each key was asked for once
    return answers;
  };
}

}  // namespace

TEST_CASE("mqar: each key is asked for once, and a lookup in the pairs answers all") {
  for (const char* filler : {"blank", "random"})
    for (const auto& [vocab, pairs, length] : {std::tuple{8192, 4, 64}, {10, 4, 16}, {12, 1, 4}, {64, 16, 70}}) {
      CAPTURE(filler);
      CAPTURE(vocab);
      const TaskData task = made(
          fmt::format("{{type: mqar, vocab: {}, pairs: [{}], length: {}, filler: {}}}", vocab, pairs, length, filler));
      check_solved(task, lookup(vocab, pairs));
      const Sample s = task.sample(Split::val, 3);
      CHECK((std::ranges::count(s.tokens, 0) > 0) == (std::string(filler) == "blank"));
      CHECK(s.difficulty == pairs);
    }
}

TEST_CASE("mqar: keys, values and numbers of pairs are drawn alike, short gaps more often than long ones") {
  const TaskData task = made("{type: mqar, vocab: 16, pairs: [1, 2, 3], length: 32}");
  std::map<int64_t, int64_t> keys, values, pairs, places;
  for (int64_t i = 0; i < 6000; ++i) {
    const Sample s = task.sample(Split::train, i);
    ++pairs[s.difficulty];
    ++keys[s.tokens[0]];
    ++values[s.tokens[1]];
    if (s.difficulty > 1) continue;  // others stand where the first left room
    for (size_t t = 2; t < s.tokens.size(); ++t)
      if (s.targets[t] != kIgnoredTarget) ++places[static_cast<int64_t>(t - 2) / 2 + 1];
  }
  check_even(keys, 7);
  check_even(values, 8);
  check_even(pairs, 3);
  double weights = 0, all = static_cast<double>(pairs[1]);
  for (int j = 1; j <= 15; ++j) weights += std::pow(j, 0.01 - 1);
  for (int j = 1; j <= 15; ++j) {
    const double p = std::pow(j, 0.01 - 1) / weights;
    CAPTURE(j);
    CHECK(std::abs(static_cast<double>(places[j]) - all * p) < 5 * std::sqrt(all * p));
  }
}

TEST_CASE("mqar: what has no room is refused, and what would have is said") {
  const auto says = [](const char* yaml) { return message_of<ConfigError>([&] { made(yaml); }); };
  CHECK(has(says("{type: mqar, pairs: [5], length: 19}"), "give at least 20"));
  CHECK(has(says("{type: mqar, pairs: [4, 9], length: 64, vocab: 18}"), "give at least 20"));
  CHECK(has(says("{type: mqar, pairs: []}"), "at least one"));
  CHECK(has(says("{type: mqar, pairs: [0]}"), "at least 1"));
}
