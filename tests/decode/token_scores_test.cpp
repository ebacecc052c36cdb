#include "decode/token_scores.h"

#include <doctest/doctest.h>

#include <cmath>

#include "support/messages.h"
#include "support/models.h"
#include "support/named.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr std::string_view kModel =
    "{d_model: 8, tie_embeddings: false, init: {std: 1.0},"
    " layers: [{mixer: {type: min_gru}}, {mixer: {type: attention, heads: 2}}]}";

}  // namespace

TEST_CASE("token scores: what the objective's score of one window says of each token") {
  const auto model = build_model(kModel, 11);
  const Tensor ids = random_ids(1, 21, 11, 3);
  const std::span tokens(ids.data<int32_t>(), 21);
  const auto scores = score_tokens(*model, tokens, 3);
  REQUIRE(scores.size() == 20);
  const Tensor inputs = Tensor::view_of(tokens.first(20), {1, 20}), targets = Tensor::view_of(tokens.last(20), {1, 20});
  const RowScore row =
      next_token().score(*model, {.inputs = inputs, .targets = targets, .segments = {}}, {.each_token = true}).at(0);
  for (size_t i = 0; i < 20; ++i) {
    CHECK(std::abs(scores[i].log_likelihood + row.token_nats[i]) < 1e-12);
    REQUIRE(scores[i].likeliest.size() == 3);
    CHECK(scores[i].likeliest[0].second >= scores[i].likeliest[1].second);
    CHECK(scores[i].likeliest[1].second >= scores[i].likeliest[2].second);
  }
}

TEST_CASE("token scores: the likeliest tokens have all the likelihood together, the token itself its own") {
  const auto model = build_model(kModel, 11);
  const Tensor ids = random_ids(1, 6, 11, 4);
  const std::span tokens(ids.data<int32_t>(), 6);
  for (const TokenScore& s : score_tokens(*model, tokens, 100)) {
    REQUIRE(s.likeliest.size() == 11);
    double sum = 0;
    for (const auto& [id, value] : s.likeliest) sum += std::exp(value);
    CHECK(std::abs(sum - 1) < 1e-12);
  }
  const auto scores = score_tokens(*model, tokens, 11);
  for (size_t i = 0; i < scores.size(); ++i)
    for (const auto& [id, value] : scores[i].likeliest)
      if (id == tokens[i + 1]) CHECK(value == scores[i].log_likelihood);
  CHECK(score_tokens(*model, tokens.first(1), 1).empty());
}

TEST_CASE("token scores: no more tokens than there are learned positions for") {
  const auto model = build_model(
      "{d_model: 8, positions: learned, max_tokens: 4, layers: [{mixer: {type: attention, heads: 2}}]}", 5, 4);
  const Tensor ids = random_ids(1, 6, 5, 1);
  const std::span tokens(ids.data<int32_t>(), 6);
  CHECK(score_tokens(*model, tokens.first(5), 1).size() == 4);
  CHECK(message_of<ConfigError>([&] { score_tokens(*model, tokens, 1); }) ==
        "the model has learned positions for 4 tokens: 6 tokens can't be scored");
}
