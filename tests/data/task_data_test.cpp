#include "data/task_data.h"

#include "data/task_order.h"
#include "support/messages.h"
#include "support/named.h"
#include "tasks/made.h"

using namespace effllm;
using namespace effllm::test;

TEST_CASE("task data: a split is its samples, a row each, and what is behind them is not scored") {
  const TaskData task = made("{type: parity, length: 9, min_length: 2, val_samples: 30, test_samples: 7}");
  for (const auto& [split, count] : {std::pair{Split::val, 30}, {Split::test, 7}, {Split::train, 30}}) {
    const TokenizedText t = task.text(split);
    CHECK(t.kind == TextKind::symbols);
    CHECK(t.tokens.size() == static_cast<size_t>(9 * count + 1));
    CHECK(t.labels.size() == t.tokens.size());
    REQUIRE(t.samples.size() == static_cast<size_t>(count));
    for (size_t i = 0; i < t.samples.size(); ++i) {
      const Sample s = task.sample(split, static_cast<int64_t>(i));
      CHECK(t.samples[i].length == static_cast<int64_t>(s.tokens.size()));
      CHECK(t.document_starts[i] == static_cast<int64_t>(9 * i));
      for (size_t p = 0; p < 9; ++p) {
        CHECK(t.tokens[9 * i + p] == (p < s.tokens.size() ? s.tokens[p] : 0));
        CHECK(t.labels[9 * i + p] == (p < s.tokens.size() ? s.targets[p] : kIgnoredTarget));
      }
    }
  }
  CHECK(made("{type: parity, train_samples: 5}").text(Split::train).samples.size() == 5);
}

TEST_CASE("task data: what it was made of tells it apart, and the hash is of the samples") {
  const std::string small = "{type: parity, length: 9, val_samples: 3, test_samples: 3}";
  const Corpus a = Corpus::of_task(all_tasks.read(parse_config(small, "t")), 1),
               b = Corpus::of_task(all_tasks.read(parse_config(small, "t")), 2);
  CHECK(a.identity().complete());
  CHECK(a.identity().hash() != b.identity().hash());
  CHECK(differences(a.identity(), Corpus::of_task(all_tasks.read(parse_config(small, "t")), 1).identity()).empty());
  const auto found = differences(a.identity(), b.identity());
  REQUIRE(found.size() == 2);
  CHECK(has(found[0], "seed 1, now "));
  CHECK(has(found[1], "the samples had the SHA-256"));
  const auto text = differences({.sha256 = "abc", .train_end = 1, .val_end = 2, .separator = ""}, a.identity());
  CHECK(has(text.at(0), "the task was none, but a text, now {type: parity"));
  CHECK(made("{type: parity, scored: every}").sha256() != made("{type: parity, scored: last}").sha256());
  // Of samples alone: a name or a default that changes nothing changes no hash.
  CHECK(made("{type: parity, length: 9, val_samples: 3, test_samples: 3, train_samples: 5000}").sha256() ==
        a.manifest().sha256);
  CHECK(made("{type: parity, length: 9, val_samples: 3, test_samples: 4}").sha256() != a.manifest().sha256);
  CHECK(made("{type: parity, length: 9, val_samples: 4, test_samples: 3}").sha256() != a.manifest().sha256);
  CHECK(made("{type: parity, length: 9, val_samples: 3, test_samples: 3, train_samples: 7}").sha256() !=
        a.manifest().sha256);
}

TEST_CASE("task order: sample g of a run is the same row, whatever the batch") {
  const TaskData task = made("{type: mqar, vocab: 16, pairs: [2], length: 12}");
  const auto small = task_order(task, next_token(), {2, 12}, 1), large = task_order(task, next_token(), {6, 15}, 1);
  CHECK(small->epochs(100) == 0);
  CHECK_FALSE(small->continues(2));
  const Batch all = large->at(12);
  CHECK(all.first_sample == 12);
  CHECK(all.counted() == 12);
  for (int64_t at = 0; at < 6; at += 2) {
    const Batch b = small->at(12 + at);
    for (size_t row = 0; row < 2; ++row)
      for (size_t p = 0; p < 15; ++p) {
        const size_t there = (static_cast<size_t>(at) + row) * 15 + p, here = row * 12 + p;
        CHECK(all.inputs[there] == (p < 12 ? b.inputs[here] : 0));
        CHECK(all.targets[there] == (p < 12 ? b.targets[here] : kIgnoredTarget));
        if (p < 12) CHECK(b.inputs[here] == task.sample(Split::train, 12 + at + static_cast<int64_t>(row)).tokens[p]);
      }
  }
}

TEST_CASE("task order: of so many samples each comes once an epoch, in another order each") {
  const TaskData task = made("{type: parity, length: 20, min_length: 20, train_samples: 11}");
  const auto order = task_order(task, next_token(), {1, 20}, 3);
  CHECK(order->epochs(22) == 2);
  std::vector<std::vector<int32_t>> all, first, second;
  for (int64_t i = 0; i < 11; ++i) {
    all.push_back(task.sample(Split::train, i).tokens);
    first.push_back(order->at(i).inputs);
    second.push_back(order->at(11 + i).inputs);
  }
  CHECK(first != second);
  for (auto* rows : {&all, &first, &second}) std::ranges::sort(*rows);
  CHECK(first == all);
  CHECK(second == all);
}

TEST_CASE("task tokenizer: words between blanks, and what is no word of the task is named") {
  const auto t = made("{type: mqar, vocab: 8, pairs: [1]}").tokenizer();
  CHECK(t->kind() == "symbols");
  CHECK(t->encode("  k1\tv0 \n _") == std::vector<int32_t>{1, 4, 0});
  CHECK(t->encode("").empty());
  CHECK(has(message_of<DataError>([&] { t->encode("k1 k9"); }), "`k9` is none of the 8 symbols"));
  CHECK_THROWS_AS(t->decode(std::vector<int32_t>{8}), DataError);
  CHECK_THROWS_AS(tokenizer_from_json(R"({"kind":"symbols"})"), CheckpointError);
  CHECK_THROWS_AS(tokenizer_from_json(R"({"kind":"symbols","symbols":"a b a"})"), CheckpointError);
  CHECK_THROWS_AS(tokenizer_from_json(R"({"kind":"symbols","symbols":""})"), CheckpointError);
}
