// Loss by how many tokens the model is given before the one that it predicts.
#include "eval/by_context.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "eval/eval_plan.h"
#include "eval/evaluator.h"
#include "kernels/parallel.h"
#include "support/models.h"
#include "support/named.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr int64_t kVocab = 6, kText = 47, kNone = std::numeric_limits<int64_t>::max();
constexpr const char* kLayers =
    "{d_model: 8, init: {std: 0.7}, layers: [{mixer: {type: attention, heads: 2}, ffn: mlp}, {mixer: min_gru}]}";
constexpr const char* kDecoder =
    "{d_model: 8, init: {std: 0.7}, block: {ffn: mlp, cross: {type: attention, heads: 2}}, encoder: {layers: [{mixer: "
    "{type: attention, heads: 2}}]}, layers: [{mixer: {type: attention, heads: 2}}, {mixer: min_gru}]}";

struct Setup {
  std::unique_ptr<Tokenizer> tokenizer = build_tokenizer("char", "abcdé€");
  std::unique_ptr<LanguageModel> model;
  const Objective& objective;
  TokenizedText text;
  explicit Setup(const char* yaml = kLayers, const Objective& o = next_token(), int64_t tokens = kText)
      : model(build_model_for(o, yaml, kVocab)), objective(o) {
    const Tensor ids = random_ids(1, tokens, kVocab, 2);
    text.tokens.assign(ids.data<int32_t>(), ids.data<int32_t>() + tokens);
    text.document_starts = {0, 5, 6, 30};
  }
  EvalResult run(const EvalOptions& o) const { return evaluate(*model, objective, text, *tokenizer, o); }
};

const std::vector<EvalOptions> kProtocols = {
    {.tokens = 7, .batch = 3},
    {.protocol = protocol("sliding", 3), .tokens = 8, .batch = 4},
    {.protocol = protocol("carried"), .tokens = 9},
    {.protocol = protocol("carried"), .tokens = 9, .reset_documents = true},
    {.tokens = 11, .batch = 2, .max_tokens = 30, .reset_documents = true},
    {.protocol = protocol("sliding", 5), .tokens = 8, .batch = 2, .reset_documents = true},
};

EvalOptions banded(EvalOptions o, std::vector<int64_t> ends) {
  o.context_bands = std::move(ends);
  return o;
}

// Tokens before target t that its window gives the model, as protocol.h's descriptions say.
int64_t context_of(const EvalOptions& o, const TokenizedText& text, int64_t t) {
  int64_t from = (t - 1) / o.tokens * o.tokens;
  if (o.protocol.name() == "carried") from = 0;
  if (o.protocol.name() == "sliding") {
    const int64_t stride = stride_of(o);
    from = t <= o.tokens ? 0 : (t - o.tokens + stride - 1) / stride * stride;
  }
  for (const int64_t start : text.document_starts)
    if (o.reset_documents && start < t) from = std::max(from, start);
  return t - from;
}

// -log p of target t by itself: what the first t targets cost together without what the first t - 1 do.
double nats_of(const Setup& s, EvalOptions o, int64_t t) {
  const auto first = [&](int64_t n) {
    o.max_tokens = n;
    return n ? s.run(o).nats : 0;
  };
  return first(t) - first(t - 1);
}

}  // namespace

TEST_CASE("by context: bands end at powers of two, at the longest context, and where training's ends") {
  using Ends = std::vector<int64_t>;
  CHECK(context_bands(16, kNone) == Ends{1, 2, 4, 8, 16});
  CHECK(context_bands(17, 16) == Ends{1, 2, 4, 8, 16, 17});
  CHECK(context_bands(100, 24) == Ends{1, 2, 4, 8, 16, 24, 32, 64, 100});
  CHECK(context_bands(30, 24) == Ends{1, 2, 4, 8, 16, 24, 30});
  CHECK(context_bands(20, 24) == Ends{1, 2, 4, 8, 16, 20});
  CHECK(context_bands(3, 1) == Ends{1, 2, 3});
  CHECK(context_bands(1, 1) == Ends{1});
}

TEST_CASE("by context: each target counts in the band of the tokens that its window gives before it") {
  const Setup s;
  for (const EvalOptions& o : kProtocols) {
    CAPTURE(describe(o));
    std::vector<int64_t> each;
    for (int64_t i = 1; i < kText; ++i) each.push_back(i);
    const EvalResult plain = s.run(o), fine = s.run(banded(o, each)), bands = s.run(banded(o, context_bands(46, 24)));
    CHECK(plain.by_context.empty());
    CHECK(fine.nats == plain.nats);
    CHECK(fine.stderr_nats == plain.stderr_nats);
    std::map<int64_t, std::pair<double, int64_t>> expected;  // by context: nats, targets
    std::map<int64_t, int64_t> bytes;
    for (int64_t t = 1; t <= (o.max_tokens ? o.max_tokens : kText - 1); ++t) {
      if (o.reset_documents && std::ranges::count(s.text.document_starts, t)) continue;
      const int64_t context = context_of(o, s.text, t);
      expected[context].first += t == 1 ? s.run([&] {
                                             EvalOptions one = o;
                                             one.max_tokens = 1;
                                             return one;
                                           }())
                                              .nats
                                        : nats_of(s, o, t);
      expected[context].second += 1;
      bytes[context] += s.tokenizer->bytes_of(s.text.tokens[static_cast<size_t>(t)]);
    }
    REQUIRE(fine.by_context.size() == expected.size());
    for (const ContextBand& b : fine.by_context) {
      CAPTURE(b.from);
      CHECK(b.from == b.to);
      CHECK(b.nats == doctest::Approx(expected.at(b.from).first).epsilon(1e-7));
      CHECK(b.tokens == expected.at(b.from).second);
      CHECK(b.characters == b.tokens);
      CHECK(b.bytes == bytes.at(b.from));
    }
    double nats = 0;
    int64_t tokens = 0, to = 0;
    for (const ContextBand& b : bands.by_context) {
      CHECK(b.from > to);
      double of_band = 0;
      for (const auto& [context, sum] : expected)
        if (context >= b.from && context <= b.to) of_band += sum.first;
      CHECK(b.nats == doctest::Approx(of_band).epsilon(1e-7));
      nats += b.nats, tokens += b.tokens, to = b.to;
    }
    CHECK(tokens == plain.tokens);
    CHECK(nats == doctest::Approx(plain.nats).epsilon(1e-12));
  }
}

TEST_CASE("by context: the standard error of a band is over its windows") {
  const Setup s(kLayers, next_token(), 29);  // four windows of 7 targets
  const EvalResult r = s.run(banded({.tokens = 7}, {2, 6, 7}));
  REQUIRE(r.by_context.size() == 3);
  for (const ContextBand& b : r.by_context) {
    CHECK(b.tokens == 4 * (b.to - b.from + 1));
    double mean = 0, squares = 0;
    std::vector<double> means;
    for (int64_t w = 0; w < 4; ++w) {
      double nats = 0;
      for (int64_t c = b.from; c <= b.to; ++c)
        nats += 7 * w + c == 1 ? s.run({.tokens = 7, .max_tokens = 1}).nats : nats_of(s, {.tokens = 7}, 7 * w + c);
      means.push_back(nats / static_cast<double>(b.to - b.from + 1));
      mean += means.back() / 4;
    }
    for (const double m : means) squares += (m - mean) * (m - mean);
    CHECK(b.stderr_nats == doctest::Approx(std::sqrt(squares / 3 / 4)).epsilon(1e-6));
  }
  const EvalResult carried = s.run(banded({.protocol = protocol("carried"), .tokens = 7}, {1, 28}));
  CHECK(std::isnan(carried.by_context[0].stderr_nats));  // one target
  CHECK(carried.by_context[1].stderr_nats > 0);
  CHECK_THROWS_WITH(s.run(banded({.tokens = 7}, {1, 6})), doctest::Contains("beyond all bands"));
}

TEST_CASE("by context: the number of threads changes no bit") {
  const Setup s(kLayers, next_token(), 300);
  for (const EvalOptions& o : kProtocols) {
    std::vector<EvalResult> all;
    for (const int n : {1, 2, 3}) {
      const Threads count(n);
      all.push_back(s.run(banded(o, context_bands(300, 24))));
    }
    for (const EvalResult& r : all) {
      REQUIRE(r.by_context.size() == all[0].by_context.size());
      for (size_t i = 0; i < r.by_context.size(); ++i) {
        CHECK(std::memcmp(&r.by_context[i].nats, &all[0].by_context[i].nats, 8) == 0);
        CHECK(std::memcmp(&r.by_context[i].stderr_nats, &all[0].by_context[i].stderr_nats, 8) == 0);
      }
    }
  }
}

TEST_CASE("by context: what all layers predict, and what a decoder predicts behind an encoder, is told alike") {
  const Setup s;
  EvalOptions exits = banded({.tokens = 7, .batch = 3}, {1, 4, 7});
  const EvalResult plain = s.run(exits);
  exits.by_exit = true;
  const EvalResult all = s.run(exits);
  REQUIRE(all.by_context.size() == 3);
  for (size_t i = 0; i < 3; ++i) CHECK(all.by_context[i].nats == plain.by_context[i].nats);

  const auto seq2seq = all_objectives.read(parse_config("{type: seq2seq, prefix: 0.5}", "test")).build();
  const Setup encoded(kDecoder, *seq2seq, 41);
  std::vector<int64_t> each = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
  const EvalResult parts = encoded.run(banded({.tokens = 10, .batch = 3}, each));
  REQUIRE(parts.by_context.size() == 6);  // the encoder reads five tokens, and the sixth is the first to be predicted
  double nats = 0;
  for (const ContextBand& b : parts.by_context) nats += b.nats;
  for (const ContextBand& b : parts.by_context) CHECK(b.tokens == 4);
  CHECK(parts.by_context[0].from == 5);
  CHECK(parts.by_context[5].to == 10);
  CHECK(nats == doctest::Approx(parts.nats).epsilon(1e-12));
}

TEST_CASE("by context: objectives that go token by token have it, others are refused") {
  size_t told = 0;
  for (const ObjectiveInfo* info : all_objectives) {
    CAPTURE(info->name);
    if (info->name == "span_corruption" || info->name == "seq2seq") continue;  // want an encoder
    const auto o = Choice(all_objectives, info->name).build();
    const Setup s("{d_model: 8, layers: [{mixer: {type: attention, heads: 2}}]}", *o);
    const EvalOptions how =
        banded({.protocol = protocol("sliding", 4), .tokens = 8, .bound_samples = o->bound() ? 1 : 0}, {1, 8});
    if (!o->scores_tokens()) {
      CHECK_THROWS_WITH_AS(s.run(how), doctest::Contains("leave the loss by position out"), ConfigError);
      continue;
    }
    ++told;
    const EvalResult r = s.run(how);
    REQUIRE(r.by_context.size() == 2);
    CHECK(r.by_context[0].tokens == 1);
    CHECK(r.by_context[0].nats + r.by_context[1].nats == doctest::Approx(r.nats).epsilon(1e-6));
  }
  CHECK(told == 4);  // next_token, goldfish, multi_token, prefix_lm
  const auto spans =
      all_objectives.read(parse_config("{type: span_corruption, rate: 0.4, mean_span: 2, sentinels: 9}", "test"))
          .build();
  const Setup filled(kDecoder, *spans);
  CHECK_THROWS_AS(filled.run(banded({.tokens = 8}, {1, 8})), ConfigError);
}
