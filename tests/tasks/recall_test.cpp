#include <algorithm>

#include "support/messages.h"
#include "tasks/made.h"

using namespace effllm;
using namespace effllm::test;

namespace {

// Two tokens at a time: what a key had before it has again, and is scored then.
Solver pairs(int64_t keys, int64_t known) {
  return [=](const std::vector<int32_t>& tokens) {
    std::map<int32_t, int32_t> value_of;
    std::vector<int32_t> answers(tokens.size(), kIgnoredTarget);
    for (size_t i = 0; i < tokens.size(); i += 2) {
      if (tokens[i] >= known) {
        CHECK(tokens[i + 1] >= known);  // noise is two tokens
        continue;
      }
      CHECK(tokens[i] < keys);
      const auto found = value_of.find(tokens[i]);
      if (found != value_of.end()) answers[i] = found->second;
      if (i + 1 == tokens.size()) continue;
      CHECK(tokens[i + 1] >= keys);
      CHECK(tokens[i + 1] < known);
      if (found != value_of.end())
        CHECK(found->second == tokens[i + 1]);
      else
        value_of[tokens[i]] = tokens[i + 1];
    }
    return answers;
  };
}

}  // namespace

TEST_CASE("recall: keys that come again have the value that they had, and are scored, and the last one always is") {
  for (const auto& [yaml, keys, known, length] :
       {std::tuple{"{type: in_context_recall, vocab: 9, length: 20}", 4, 9, 19},
        {"{type: in_context_recall, vocab: 2, length: 4}", 1, 2, 3},
        {"{type: noisy_recall, vocab: 11, noise_vocab: 3, length: 20, noise: 0.4}", 4, 8, 19},
        {"{type: noisy_recall, vocab: 5, noise_vocab: 3, length: 6, noise: 1}", 1, 2, 5}}) {
    CAPTURE(yaml);
    const TaskData task = made(yaml);
    check_solved(task, pairs(keys, known));
    std::map<int64_t, int64_t> first, noise;
    for (int64_t i = 0; i < 3000; ++i) {
      const Sample s = task.sample(Split::train, i);
      CHECK(s.tokens.size() == static_cast<size_t>(length));
      CHECK(s.targets.back() != kIgnoredTarget);
      if (s.tokens[0] < known) ++first[s.tokens[0]];
      ++noise[s.tokens[0] >= known];
    }
    check_even(first, keys);
    if (std::string(yaml).find("0.4") != std::string::npos)  // but for one of nine pairs
      CHECK(std::abs(static_cast<double>(noise[1]) / 3000 - 0.4 * 8 / 9) < 0.05);
    CHECK((noise[1] > 0) == (std::string(yaml).find("noise: ") != std::string::npos));
  }
  const auto says = [](const char* yaml) { return message_of<ConfigError>([&] { made(yaml); }); };
  CHECK(has(says("{type: in_context_recall, length: 7}"), "odd"));
  CHECK(has(says("{type: noisy_recall, vocab: 17, noise_vocab: 16}"), "no keys"));
}

TEST_CASE("fuzzy recall: a run of key tokens that came before has all tokens of its value again") {
  const TaskData task = made("{type: fuzzy_recall, vocab: 9, length: 30, key_motif: 2, value_motif: 3}");
  std::map<int64_t, int64_t> places;
  check_solved(
      task,
      [&](const std::vector<int32_t>& tokens) {
        const auto is_key = [](int32_t id) { return id < 4; };
        std::map<std::vector<int32_t>, std::vector<int32_t>> value_of;
        std::vector<int32_t> answers(tokens.size(), kIgnoredTarget);
        size_t scored = 0;
        for (size_t i = 0; i < tokens.size();) {
          size_t middle = i, end;
          while (middle < tokens.size() && is_key(tokens[middle])) ++middle;
          for (end = middle; end < tokens.size() && !is_key(tokens[end]);) ++end;
          const std::vector<int32_t> key(tokens.begin() + static_cast<int64_t>(i),
                                         tokens.begin() + static_cast<int64_t>(middle)),
              value(tokens.begin() + static_cast<int64_t>(middle), tokens.begin() + static_cast<int64_t>(end));
          CHECK(key.size() <= 2);
          CHECK(value.size() <= 3);
          if (const auto found = value_of.find(key); found != value_of.end()) {
            if (end < tokens.size()) CHECK(found->second == value);
            for (size_t v = 0; v < found->second.size(); ++v) answers[middle - 1 + v] = found->second[v];
            scored = found->second.size();
            if (end == tokens.size()) CHECK(middle - 1 + scored == tokens.size());  // only the last token is left out
          } else {
            value_of[key] = value;
          }
          ++places[static_cast<int64_t>(key.size())];
          i = end;
        }
        CHECK(answers.back() != kIgnoredTarget);
        CHECK(scored > 0);
        return answers;
      },
      2000);
  CHECK(places.size() == 2);
  const auto says = [](const char* yaml) { return message_of<ConfigError>([&] { made(yaml); }); };
  CHECK(has(says("{type: fuzzy_recall, vocab: 5, key_motif: 3}"), "too few symbols"));
  CHECK(has(says("{type: fuzzy_recall, length: 11}"), "give at least 12"));
}

TEST_CASE("compression: a place that is asked for has the symbol that stood there, and each is asked for once") {
  const TaskData task = made("{type: compression, symbols: 5, length: 7}");
  std::map<int64_t, int64_t> first;
  check_solved(
      task,
      [&](const std::vector<int32_t>& tokens) {
        std::vector<int32_t> answers(14, kIgnoredTarget), asked(tokens.begin() + 7, tokens.end());
        for (size_t i = 7; i < 14; ++i) answers[i] = tokens[static_cast<size_t>(tokens[i] - 5)];
        ++first[asked[0]];
        std::ranges::sort(asked);
        CHECK(asked == std::vector<int32_t>{5, 6, 7, 8, 9, 10, 11});
        return answers;
      },
      3000);
  check_even(first, 7);
}

TEST_CASE("memorization: a key has one value in all samples and splits, which no other key and no sample shows") {
  const TaskData task = made("{type: memorization, vocab: 12, length: 8}");
  std::map<int32_t, int32_t> value_of;
  for (int64_t i = 0; i < 300; ++i) {
    const Sample s = task.sample(static_cast<Split>(i % 3), i);
    for (size_t t = 0; t < 8; t += 2) {
      CHECK(s.tokens[t] < 5);
      CHECK(s.tokens[t + 1] == 11);
      CHECK(s.targets[t] == kIgnoredTarget);
      CHECK(value_of.emplace(s.tokens[t], s.targets[t + 1]).first->second == s.targets[t + 1]);
    }
  }
  std::map<int32_t, int64_t> values;
  for (const auto& [key, value] : value_of) {
    CHECK(value >= 5);
    CHECK(value < 11);
    ++values[value];
  }
  CHECK(values.size() == 5);
  const TaskData other = made("{type: memorization, vocab: 12, length: 8}", 2);
  int64_t alike = 0, all = 0;
  for (int64_t i = 0; i < 50; ++i) {
    const Sample s = other.sample(Split::train, i);
    for (size_t t = 0; t < 8; t += 2) ++all, alike += value_of.at(s.tokens[t]) == s.targets[t + 1];
  }
  CHECK(alike < all);  // the seed decides the values
  CHECK(has(message_of<ConfigError>([] { made("{type: memorization, length: 7}"); }), "odd"));
}
