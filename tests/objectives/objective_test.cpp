#include "objectives/objective.h"

#include <doctest/doctest.h>

#include "base/error.h"
#include "eval/evaluator.h"
#include "support/models.h"
#include "support/named.h"

using namespace effllm;
using namespace effllm::test;

namespace {

// Ids 0 1 2 ... of `vocab`, documents from 0, 5 and 9 on.
TokenizedText counting(int64_t tokens, int32_t vocab = 100) {
  TokenizedText text;
  for (int32_t i = 0; i < tokens; ++i) text.tokens.push_back(i % vocab);
  text.document_starts = {0, 5, 9};
  return text;
}

Batch cut(const Objective& objective, int64_t begin, int64_t end, int64_t scored, bool documents) {
  static const TokenizedText text = counting(20);
  Batch b = batch_for(1, end - begin);
  objective.cut({.text = text.tokens,
                 .begin = begin,
                 .end = end,
                 .scored = scored,
                 .document_starts = documents ? &text.document_starts : nullptr},
                b);
  return b;
}

// Predicts the token after the next.
struct SecondNext final : Objective {
  int64_t lookahead() const override { return 2; }
  void cut(const Stretch& s, Batch& batch) const override {
    Objective::cut(s, batch);
    std::copy_n(s.text.begin() + s.begin + 2, s.end - s.begin, batch.targets.end() - (s.end - s.begin));
  }
};

}  // namespace

TEST_CASE("objective: a row's targets are the next tokens, but of inputs before those scored and at documents") {
  using Ids = std::vector<int32_t>;
  constexpr int32_t none = kIgnoredTarget;
  struct Case {
    int64_t begin, end, scored;
    bool documents;
    Ids inputs, targets;
    std::vector<int64_t> segments;
  };
  for (const Case& c : {Case{3, 7, 3, false, {3, 4, 5, 6}, {4, 5, 6, 7}, {}},
                        {3, 7, 5, false, {3, 4, 5, 6}, {none, none, 6, 7}, {}},
                        {3, 7, 0, true, {3, 4, 5, 6}, {4, none, 6, 7}, {0, 0, 1, 1}},
                        {5, 10, 6, true, {5, 6, 7, 8, 9}, {none, 7, 8, none, 10}, {1, 1, 1, 1, 2}},
                        {6, 8, 9, true, {6, 7}, {none, none}, {0, 0}}}) {
    const Batch b = cut(next_token(), c.begin, c.end, c.scored, c.documents);
    CHECK(b.inputs == c.inputs);
    CHECK(b.targets == c.targets);
    CHECK(b.segments == c.segments);
  }
}

TEST_CASE("objective: rows look into their batch, and their scores add up to the loss") {
  const auto model = build_model("{d_model: 8, layers: [{mixer: {type: min_gru}}]}", 20, 16, DType::f64);
  Batch b = batch_for(3, 4);
  const TokenizedText text = counting(20);
  for (const int64_t begin : {0, 4, 11})
    next_token().cut({.text = text.tokens,
                      .begin = begin,
                      .end = begin + 4,
                      .scored = begin,
                      .document_starts = &text.document_starts},
                     b);
  CHECK(b.counted() == 11);  // a document begins at 5
  const BatchRows last = b.rows(1, 2);
  CHECK(last.inputs.data<int32_t>()[4] == 11);
  CHECK(last.segments.data<int64_t>()[1] == 1);
  const std::vector<RowScore> nats = next_token().score(*model, last, {});
  REQUIRE(nats.size() == 2);
  CHECK(*next_token().loss(*model, last, 0.5, {}, nullptr).data<double>() ==
        doctest::Approx(0.5 * (nats[0].nats + nats[1].nats)).epsilon(1e-12));
  CHECK(nats[0].nats != next_token().score(*model, {last.inputs, last.targets, {}}, {})[0].nats);  // 5 begins anew
}

TEST_CASE("objective: orders and evaluations leave room for all that a cut reads") {
  const SecondNext objective;
  for (const OrderInfo* info : all_orders) {
    CAPTURE(info->name);
    const auto build = [&](int64_t tokens, int64_t batch) {
      static TokenizedText text;
      text = counting(tokens);
      return Choice(all_orders, info->name)
          .build({.text = text, .objective = objective, .shape = {batch, 6}, .seed = 1, .reset_documents = false});
    };
    for (const int64_t tokens : {8, 9, 13, 14, 15, 20, 21}) {
      const auto order = build(tokens, 1);
      for (int64_t sample = 0; sample < 40; ++sample) {
        const Batch b = order->at(sample);
        for (size_t i = 0; i < b.inputs.size(); ++i) CHECK(b.targets[i] == b.inputs[i] + 2);
        CHECK(b.targets.back() < tokens);
      }
    }
    CHECK_THROWS_AS(build(7, 1), DataError);
  }
  const auto model = build_model("{d_model: 8, layers: [{mixer: {type: min_gru}}]}", 20, 16, DType::f64);
  const auto tokenizer = build_tokenizer("char", "abcdefghijklmnopqrst");
  CHECK(evaluate(*model, objective, counting(15), *tokenizer, {.tokens = 4}).tokens == 13);
  CHECK_THROWS_AS(evaluate(*model, objective, counting(2), *tokenizer, {.tokens = 4}), DataError);
}
