// A model that ends after each of its layers, in one pass over a text.
#include <doctest/doctest.h>

#include <cmath>

#include "eval/evaluator.h"
#include "support/models.h"
#include "support/named.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr int64_t kVocab = 6, kText = 47;
// Every kind of state, and blocks that wrap or share.
constexpr const char* kLayers =
    "{d_model: 8, init: {std: 0.7}, layers: [{id: a, mixer: {type: attention, heads: 2, window: 5, value_residual: "
    "0.5}, ffn: mlp}, {type: layer_drop, rate: 0.9, mixer: {type: min_gru, conv: 3}}, {type: mod, mixer: {type: "
    "attention, heads: 2}}, {use: a}, {mixer: {type: gla, heads: 2}}]}";

struct Setup {
  std::unique_ptr<Tokenizer> tokenizer = build_tokenizer("char", "abcdé€");
  std::unique_ptr<LanguageModel> model;
  TokenizedText text;
  explicit Setup(const char* yaml = kLayers, const Objective& objective = next_token())
      : model(build_model_for(objective, yaml, kVocab)) {
    const Tensor ids = random_ids(1, kText, kVocab, 2);
    text.tokens.assign(ids.data<int32_t>(), ids.data<int32_t>() + kText);
    text.document_starts = {0, 5, 6, 30};
  }
  EvalResult run(EvalOptions o, bool by_exit = true, const Objective& objective = next_token()) const {
    o.by_exit = by_exit;
    return evaluate(*model, objective, text, *tokenizer, o);
  }
};

const std::vector<EvalOptions> kProtocols = {
    {.tokens = 7, .batch = 3},
    {.protocol = protocol("sliding", 3), .tokens = 8, .batch = 4},
    {.protocol = protocol("carried"), .tokens = 9},
    {.protocol = protocol("carried"), .tokens = 9, .reset_documents = true},
    {.tokens = 11, .batch = 2, .max_tokens = 30, .reset_documents = true},
};

}  // namespace

TEST_CASE("exits: each is the evaluation of the model that ends there, the last that of the model, to the bit") {
  const Setup s;
  for (const EvalOptions& o : kProtocols) {
    CAPTURE(describe(o));
    const EvalResult plain = s.run(o, false), all = s.run(o);
    CHECK(plain.exits.empty());
    REQUIRE(all.exits.size() == 5);
    CHECK(all.nats == plain.nats);
    CHECK(all.stderr_nats == plain.stderr_nats);
    CHECK(all.at_exit(5).nats == plain.nats);
    CHECK(all.agreement(5) == 1);
    for (int64_t layers = 1; layers <= 5; ++layers) {
      const Setup shorter;
      shorter.model->exit_after(layers);
      const EvalResult alone = shorter.run(o, false);
      CHECK(all.at_exit(static_cast<size_t>(layers)).nats == alone.nats);
      CHECK(all.at_exit(static_cast<size_t>(layers)).bits_per_char() == alone.bits_per_char());
      CHECK((layers == 5 || all.at_exit(static_cast<size_t>(layers)).nats != plain.nats));
    }
  }
}

TEST_CASE("exits: agreement and the layers that a token needs, by hand") {
  const Setup s;
  const EvalOptions o{.tokens = 7, .reset_documents = true};
  const EvalResult r = s.run(o);
  std::array<int64_t, 5> agrees{};
  int64_t needed = 0, tokens = 0;
  for (int64_t from = 0; from < kText - 1; from += 7) {
    const int64_t n = std::min<int64_t>(7, kText - 1 - from);
    const Tensor ids = Tensor::dense({1, n}, DType::i32), segments = Tensor::dense({1, n}, DType::i64);
    int64_t document = 0;
    for (int64_t i = 0; i < n; ++i) {
      ids.data<int32_t>()[i] = s.text.tokens[static_cast<size_t>(from + i)];
      document += std::ranges::count(s.text.document_starts, from + i);
      segments.data<int64_t>()[i] = document;
    }
    Context cx;
    cx.segments = segments;
    std::vector<Tensor> logits;
    for (int64_t layers = 1; layers <= 5; ++layers) {
      const Setup shorter;
      shorter.model->exit_after(layers);
      logits.push_back(shorter.model->logits(ids, cx));
    }
    for (int64_t i = 0; i < n; ++i) {
      if (std::ranges::count(s.text.document_starts, from + i + 1)) continue;  // is not scored
      ++tokens;
      std::vector<int64_t> chosen;
      for (const Tensor& z : logits) {
        int64_t best = 0;
        for (int64_t q = 1; q < kVocab; ++q)
          if (at(z, i, q) > at(z, i, best)) best = q;
        chosen.push_back(best);
      }
      int64_t first = 0;
      for (int64_t l = 0; l < 5; ++l) {
        agrees[static_cast<size_t>(l)] += chosen[static_cast<size_t>(l)] == chosen[4];
        if (chosen[static_cast<size_t>(l)] != chosen[4]) first = l + 1;
      }
      needed += first + 1;
    }
  }
  CHECK(r.tokens == tokens);
  for (size_t l = 0; l < 5; ++l)
    CHECK(r.agreement(l + 1) == static_cast<double>(agrees[l]) / static_cast<double>(tokens));
  CHECK(r.layers_needed() == static_cast<double>(needed) / static_cast<double>(tokens));
  CHECK(r.layers_needed() > 1);
  CHECK(r.layers_needed() < 5);
}

TEST_CASE("exits: the number of threads changes no bit") {
  const Setup s;
  const int before = threads();
  std::vector<EvalResult> all;
  for (const int n : {1, 2, 3}) {
    set_threads(n);
    all.push_back(s.run({.tokens = 5, .batch = 2}));
  }
  set_threads(before);
  for (const EvalResult& r : all) {
    CHECK(r.settled == all[0].settled);
    for (size_t l = 1; l <= 5; ++l) {
      CHECK(r.at_exit(l).nats == all[0].at_exit(l).nats);
      CHECK(r.agreement(l) == all[0].agreement(l));
    }
  }
}

TEST_CASE("exits: of a decoder behind an encoder each is the evaluation of the model that ends there") {
  constexpr const char* kDecoder =
      "{d_model: 8, init: {std: 0.7}, block: {ffn: mlp, cross: {type: attention, heads: 2}}, encoder: {layers: "
      "[{mixer: "
      "{type: attention, heads: 2}}]}, layers: [{mixer: {type: attention, heads: 2}}, {mixer: min_gru}, {mixer: {type: "
      "gla, heads: 2}}]}";
  for (const char* type : {"{type: seq2seq}", "{type: span_corruption, rate: 0.4, mean_span: 2, sentinels: 9}"}) {
    CAPTURE(type);
    const auto o = all_objectives.read(parse_config(type, "test")).build();
    const EvalOptions how{.tokens = 11, .batch = 2};
    const Setup s(kDecoder, *o);
    const EvalResult plain = s.run(how, false, *o), all = s.run(how, true, *o);
    REQUIRE(all.exits.size() == 3);
    CHECK(all.nats == plain.nats);
    CHECK(all.agreement(3) == 1);
    CHECK(all.agreement(1) < 1);
    CHECK(all.layers_needed() <= 3);
    for (int64_t layers = 1; layers <= 3; ++layers) {
      const Setup shorter(kDecoder, *o);
      shorter.model->exit_after(layers);
      CHECK(all.at_exit(static_cast<size_t>(layers)).nats == shorter.run(how, false, *o).nats);
    }
  }
}

TEST_CASE("exits: other objectives that predict from left to right have them, a bound is refused") {
  const auto multi = all_objectives.read(parse_config("{type: multi_token, tokens: 2}", "test")).build();
  const Setup s(kLayers, *multi);
  const EvalResult r = s.run({.tokens = 7}, true, *multi);
  CHECK(r.exits.size() == 5);
  CHECK(r.tokens == kText - 1);
  const auto diffusion = Choice(all_objectives, "masked_diffusion").build();
  const Setup both("{d_model: 8, layers: [{mixer: {type: attention, heads: 2}}]}", *diffusion);
  CHECK_THROWS_WITH_AS(both.run({.tokens = 7, .bound_samples = 1}, true, *diffusion),
                       doctest::Contains("a bound is of a whole model"), ConfigError);
}
