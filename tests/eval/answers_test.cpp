// What evaluations tell of a task: answers that are right, and where.
#include <cmath>

#include "eval/evaluator.h"
#include "kernels/parallel.h"
#include "support/models.h"
#include "support/named.h"
#include "tasks/made.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr std::string_view kModel = "{d_model: 8, init: {std: 0.9}, layers: [{mixer: {type: min_gru}}]}";

using Answers = EvalResult::Answers;

void check_same(const Answers& a, const Answers& b) {
  CHECK(a.tokens == b.tokens);
  CHECK(a.right == b.right);
  CHECK(a.samples == b.samples);
  CHECK(a.whole == b.whole);
  CHECK(a.nats == doctest::Approx(b.nats).epsilon(1e-12));
}

}  // namespace

TEST_CASE("answers: counts and sums are those of each sample run alone, by length and by difficulty") {
  for (const char* yaml : {"{type: mqar, vocab: 8, pairs: [1, 2], length: 10, val_samples: 60}",
                           "{type: parity, length: 6, min_length: 2, scored: every, val_samples: 60}"}) {
    CAPTURE(yaml);
    const TaskData task = made(yaml);
    const auto model = build_model(kModel, task.task().vocab());
    Answers all;
    std::map<int64_t, Answers> by_length, by_difficulty;
    for (int64_t i = 0; i < 60; ++i) {
      const Sample s = task.sample(Split::val, i);
      const auto n = static_cast<int64_t>(s.tokens.size());
      const Tensor z = model->logits(Tensor::view_of(std::span(s.tokens), {1, n}), {});
      int64_t right = 0, tokens = 0;
      double nats = 0;
      for (int64_t t = 0; t < n; ++t) {
        const int32_t target = s.targets[static_cast<size_t>(t)];
        if (target == kIgnoredTarget) continue;
        double sum = 0;
        bool best = true;
        for (int64_t q = 0; q < z.cols(); ++q) {
          sum += std::exp(at(z, t, q));
          best = best && at(z, t, q) <= at(z, t, target);
        }
        nats += std::log(sum) - at(z, t, target);
        right += best;
        ++tokens;
      }
      for (Answers* a : {&all, &by_length[n], &by_difficulty[s.difficulty]}) {
        a->tokens += tokens, a->right += right, a->samples += 1, a->whole += right == tokens, a->nats += nats;
      }
    }
    CHECK(all.right > 0);
    CHECK(all.right < all.tokens);
    CHECK(all.whole < all.samples);
    const TokenizedText text = task.text(Split::val);
    const auto tokenizer = task.tokenizer();
    EvalOptions o{.tokens = task.task().longest(), .batch = 7};
    for (const bool exits : {false, true}) {
      o.by_exit = exits;
      const EvalResult r = evaluate(*model, next_token(), text, *tokenizer, o);
      check_same(r.answers, all);
      CHECK(r.by_length.size() == by_length.size());
      CHECK(r.by_difficulty.size() == by_difficulty.size());
      for (const auto& [n, a] : by_length) check_same(r.by_length.at(n), a);
      for (const auto& [n, a] : by_difficulty) check_same(r.by_difficulty.at(n), a);
      CHECK(r.tokens == all.tokens);
      CHECK(r.nats == doctest::Approx(all.nats).epsilon(1e-12));
      CHECK(r.bits() == doctest::Approx(all.nats / static_cast<double>(all.tokens) / std::log(2.0)));
    }
  }
}

TEST_CASE("answers: metrics of a task are accuracies, without bits of characters and bytes, for any threads") {
  const TaskData task = made("{type: parity, length: 6, min_length: 2, scored: every, val_samples: 60}");
  const auto model = build_model(kModel, 2);
  const TokenizedText text = task.text(Split::val);
  const auto tokenizer = task.tokenizer();
  std::vector<std::vector<Measured>> rows;
  for (const int threads : {1, 3}) {
    set_threads(threads);
    rows.push_back(evaluate(*model, next_token(), text, *tokenizer, {.tokens = 6, .batch = 4}).measured());
  }
  set_threads(1);
  std::vector<std::string> names;
  for (size_t i = 0; i < rows[0].size(); ++i) {
    names.push_back(rows[0][i].name);
    CHECK(rows[0][i].value == rows[1][i].value);
  }
  CHECK(names == std::vector<std::string>{"loss", "accuracy", "sample_accuracy", "ppl", "stderr", "scored_tokens"});
  CHECK(rows[0][1].metric->unit == "1");
}
