// Tasks whose answer a small program computes: written here another way than where the samples are made.
#include <algorithm>

#include "support/messages.h"
#include "tasks/made.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr int32_t kNone = kIgnoredTarget;

// Dijkstra's two stacks, over integers; ids are digits, then + - * = ( ).
int64_t value_of(const std::vector<int32_t>& tokens, int32_t modulus) {
  std::vector<int64_t> numbers;
  std::vector<int32_t> signs;
  const auto apply = [&] {
    const int64_t b = numbers.back();
    numbers.pop_back();
    int64_t& a = numbers.back();
    a = signs.back() == 0 ? a + b : signs.back() == 1 ? a - b : a * b;
    a %= modulus;
    signs.pop_back();
  };
  for (const int32_t id : tokens) {
    const int32_t sign = id - modulus;
    if (sign < 0) {
      numbers.push_back(id);
    } else if (sign == 4) {
      signs.push_back(sign);
    } else if (sign == 5) {
      while (signs.back() != 4) apply();
      signs.pop_back();
    } else if (sign == 3) {
      while (!signs.empty()) apply();
    } else {
      while (!signs.empty() && signs.back() != 4 && (signs.back() == 2 || sign != 2)) apply();
      signs.push_back(sign);
    }
  }
  REQUIRE(numbers.size() == 1);
  return (numbers[0] % modulus + modulus) % modulus;
}

}  // namespace

TEST_CASE("modular arithmetic: another way to compute it gives the answer at the sign, with and without brackets") {
  for (const bool brackets : {false, true}) {
    const TaskData task = made(
        fmt::format("{{type: modular_arithmetic, modulus: 7, length: 23, min_length: 6, brackets: {}}}", brackets));
    CHECK(task.task().vocab() == (brackets ? 13 : 11));
    CHECK(task.task().longest() == 22);
    std::map<int64_t, int64_t> lengths, answers, signs;
    check_solved(
        task,
        [&](const std::vector<int32_t>& tokens) {
          std::vector<int32_t> all(tokens.size(), kNone);
          CHECK(tokens.back() == 10);
          all.back() = static_cast<int32_t>(value_of(tokens, 7));
          ++lengths[static_cast<int64_t>(tokens.size())];
          for (const int32_t id : tokens)
            if (id >= 7 && id < 10) ++signs[id];
          return all;
        },
        3000);
    check_even(lengths, brackets ? 5 : 9);
    check_even(signs, 3);
    CHECK(lengths.begin()->first == 6);
    CHECK(task.sample(Split::train, 0).difficulty ==
          std::ranges::count_if(task.sample(Split::train, 0).tokens, [](int32_t id) { return id < 7; }));
  }
  CHECK(made("{type: modular_arithmetic, length: 2, min_length: 2}").task().longest() == 2);
  CHECK(
      has(message_of<ConfigError>([] { made("{type: modular_arithmetic, length: 9, min_length: 8, brackets: true}"); }),
          "2 operators make 10"));
}

TEST_CASE("dyck: brackets match, no more are open than may be, and the innermost open one is told") {
  const TaskData task = made("{type: dyck, kinds: 3, depth: 4, length: 20, min_length: 9}");
  std::map<int64_t, int64_t> lengths, kinds, depths;
  check_solved(
      task,
      [&](const std::vector<int32_t>& tokens) {
        std::vector<int32_t> answers;
        std::string open;  // a letter each
        size_t most = 0;
        for (const int32_t id : tokens) {
          if (id < 3) {
            open += static_cast<char>('a' + id);
            ++kinds[id];
          } else {
            REQUIRE(!open.empty());
            REQUIRE(open.back() == 'a' + id - 3);
            open.pop_back();
          }
          CHECK(open.size() <= 4);
          most = std::max(most, open.size());
          answers.push_back(open.empty() ? 6 : open.back() - 'a' + 3);
        }
        ++lengths[static_cast<int64_t>(tokens.size())];
        ++depths[static_cast<int64_t>(most)];
        return answers;
      },
      2000);
  check_even(lengths, 12);
  check_even(kinds, 3);
  CHECK(depths.size() == 4);
  for (int64_t i = 0; i < 50; ++i) CHECK(task.sample(Split::val, i).difficulty <= 4);
}

TEST_CASE("permutations: applied one after the other to things in a row, they give the answers") {
  for (const auto& [group, n, size] : {std::tuple{"s3", 3, 6}, {"a5", 5, 60}, {"s5", 5, 120}})
    for (const bool every : {true, false}) {
      const TaskData task = made(
          fmt::format("{{type: permutations, group: {}, length: 9, scored: {}}}", group, every ? "every" : "last"));
      CHECK(task.task().vocab() == size);
      std::map<std::string, int32_t> id_of;
      for (int32_t id = 0; id < size; ++id) id_of[task.task().symbol(id)] = id;
      CHECK(id_of.size() == static_cast<size_t>(size));
      std::map<int64_t, int64_t> elements;
      check_solved(
          task,
          [&](const std::vector<int32_t>& tokens) {
            std::vector<int32_t> answers(9, kNone);
            std::string at;  // where each thing is by now
            for (int32_t i = 1; i <= n; ++i) at += static_cast<char>('0' + i);
            for (size_t t = 0; t < 9; ++t) {
              const std::string p = task.task().symbol(tokens[t]);
              for (char& thing : at) thing = p[static_cast<size_t>(thing - '1')];
              REQUIRE(id_of.contains(at));  // no product leaves the group
              if (every || t == 8) answers[t] = id_of.at(at);
              ++elements[tokens[t]];
            }
            return answers;
          },
          1500);
      check_even(elements, size);
    }
}

TEST_CASE("majority and counting: sums over what came so far give the answers") {
  for (const bool every : {true, false}) {
    const TaskData task =
        made(fmt::format("{{type: majority, length: 11, min_length: 4, scored: {}}}", every ? "every" : "last"));
    std::map<int64_t, int64_t> bits;
    check_solved(task, [&](const std::vector<int32_t>& tokens) {
      std::vector<int32_t> answers(tokens.size(), kNone);
      for (size_t i = 0; i < tokens.size(); ++i) {
        const auto ones = std::count(tokens.begin(), tokens.begin() + static_cast<int64_t>(i) + 1, 1);
        if (every || i + 1 == tokens.size()) answers[i] = 2 * ones > static_cast<int64_t>(i) + 1;
        ++bits[tokens[i]];
      }
      return answers;
    });
    check_even(bits, 2);
  }
  const TaskData task = made("{type: counting, symbols: 3, most: 4, length: 20, min_length: 6}");
  std::map<int64_t, int64_t> lengths;
  check_solved(
      task,
      [&](const std::vector<int32_t>& tokens) {
        std::vector<int32_t> answers;
        for (size_t i = 0; i < tokens.size(); ++i)
          answers.push_back(
              2 + static_cast<int32_t>(std::min<int64_t>(
                      4, std::count(tokens.begin(), tokens.begin() + static_cast<int64_t>(i) + 1, tokens[i]))));
        ++lengths[static_cast<int64_t>(tokens.size())];
        return answers;
      },
      3000);
  check_even(lengths, 15);
}
