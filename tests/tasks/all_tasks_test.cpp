// Every task, because it is in the list.
#include <set>

#include "config/options.h"
#include "tasks/made.h"

using namespace effllm;
using namespace effllm::test;

namespace {

bool same(const Sample& a, const Sample& b) { return a.tokens == b.tokens && a.targets == b.targets; }

void check_samples(const TaskData& task) {
  const int64_t vocab = task.task().vocab();
  int64_t longest = 0;
  for (const Split split : {Split::train, Split::val, Split::test})
    for (int64_t i = 0; i < 200; ++i) {
      CAPTURE(i);
      const Sample s = task.sample(split, i);
      REQUIRE(s.tokens.size() == s.targets.size());
      longest = std::max(longest, static_cast<int64_t>(s.tokens.size()));
      int64_t scored = 0;
      for (size_t t = 0; t < s.tokens.size(); ++t) {
        CHECK(s.tokens[t] >= 0);
        CHECK(s.tokens[t] < vocab);
        if (s.targets[t] == kIgnoredTarget) continue;
        ++scored;
        CHECK(s.targets[t] >= 0);
        CHECK(s.targets[t] < vocab);
        if (task.info().continues && t + 1 < s.tokens.size()) CHECK(s.targets[t] == s.tokens[t + 1]);
      }
      CHECK(scored > 0);
      CHECK((task.info().difficulty.empty() || s.difficulty > 0));
    }
  CHECK(longest <= task.task().longest());
  CHECK(longest > task.task().longest() * 3 / 4);  // no row is much longer than samples are
}

// A sample is what seed, split and number say, however often and in which order it is asked for.
void check_streams(const TaskInfo& info) {
  const Choice choice(all_tasks, info.name);
  const TaskData a(choice, 1), b(choice, 1), other(choice, 2);
  int64_t alike = 0;
  constexpr int64_t kSamples = 50;
  for (int64_t i = kSamples; i-- > 0;) {
    const Sample s = a.sample(Split::train, i);
    CHECK(same(s, b.sample(Split::train, i)));
    alike += same(s, other.sample(Split::train, i)) + same(s, a.sample(Split::val, i)) +
             same(s, a.sample(Split::test, i)) + same(s, a.sample(Split::train, i + kSamples));
  }
  CHECK(alike < kSamples / 5);  // short samples may meet by chance
  CHECK(a.sha256() == b.sha256());
  CHECK(a.sha256() != other.sha256());
}

void check_words(const TaskData& task) {
  std::set<std::string> words;
  std::string text;
  for (int64_t id = 0; id < task.task().vocab(); ++id) {
    const std::string word = task.task().symbol(static_cast<int32_t>(id));
    CHECK(word.find_first_of(" \t\r\n") == word.npos);
    CHECK(words.insert(word).second);
    text += word + " ";
  }
  const auto tokenizer = task.tokenizer();
  CHECK(tokenizer->vocab_size() == task.task().vocab());
  const std::vector<int32_t> ids = tokenizer->encode(text);
  for (size_t i = 0; i < ids.size(); ++i) CHECK(ids[i] == static_cast<int32_t>(i));
  CHECK(tokenizer->decode(ids) == text);
  CHECK(tokenizer_from_json(tokenizer->to_json())->decode(ids) == text);
}

void check_lengths(const TaskData& task) {
  if (task.info().length.empty()) {
    CHECK_THROWS_AS(task.of_length(8), ConfigError);
    return;
  }
  const auto own = task.task().longest();
  const ConfigNode written = Choice(all_tasks, task.info().name).write();
  const int64_t usual = std::stoll(written.find(task.info().length)->text());
  const TaskData twice = task.of_length(2 * usual);
  CHECK(twice.task().longest() > own);
  CHECK(twice.task().vocab() == task.task().vocab());
  check_samples(twice);
}

void check_task(std::string_view name) {
  const TaskInfo& info = all_tasks.find(name);
  for (const std::string_view fact : {info.title, info.paper, info.source, info.deviations}) CHECK(!fact.empty());
  const TaskData task(Choice(all_tasks, name), 1);
  check_samples(task);
  check_streams(info);
  check_words(task);
  check_lengths(task);
}

}  // namespace

#define ENTRY(name) \
  TEST_CASE("task " #name ": samples, streams, words and lengths are as the list promises") { check_task(#name); }
#include "lists/tasks.def"
#undef ENTRY
