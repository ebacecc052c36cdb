#include "decode/speculate.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/error.h"
#include "decode/generator.h"
#include "objectives/objective.h"
#include "support/models.h"
#include "support/named.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr std::string_view kSymbols = "\nabcdefgh";

using Model = std::unique_ptr<LanguageModel>;

// Large initial weights: what comes next must depend on what came before.
Model model_of(std::string_view layers, DType type = DType::f64, uint64_t seed = 5, std::string_view more = "") {
  return build_model("{d_model: 8, tie_embeddings: false, init: {std: 1.0}, block: {ffn: {type: mlp}}, " +
                         std::string(more) + "layers: [" + std::string(layers) + "]}",
                     static_cast<int64_t>(kSymbols.size()), 64, type, seed);
}

const std::vector<std::string> kFamilies = {
    "{mixer: {type: attention, heads: 2}}, {mixer: {type: attention, heads: 2, kv_heads: 1}}",
    "{mixer: {type: attention, heads: 2, window: 5, sinks: 1}}, {mixer: {type: min_gru, conv: 3}}",
    "{mixer: {type: gated_delta, heads: 2}}, {mixer: {type: mamba2, head_dim: 4, state: 3}}",
    "{mixer: {type: mla, heads: 2, kv_rank: 6, nope_dim: 4, rope_dim: 2, v_dim: 4}}, {mixer: {type: moba, heads: 2, "
    "block: 4, top_k: 2}}",
    "{type: mod, capacity: 0.5, mixer: {type: attention, heads: 2}}, {mixer: {type: attention, heads: 2}}",
    "{mixer: {type: linearized_attention, query_key_dim: 6, group: 4, taps: 4}}, {mixer: lstm, ffn: {type: "
    "rwkv_channel_mix}}"};

const Tokenizer& tokenizer() {
  static const std::unique_ptr<Tokenizer> t = build_tokenizer("char", kSymbols);
  return *t;
}

std::string text_of(const LanguageModel& model, GenerateOptions o, const LanguageModel* draft = nullptr,
                    DraftCounts* counts = nullptr) {
  o.draft.model = draft;
  return generate(model, tokenizer(), "abc\nfed", o, {}, counts)[0];
}

// How far the likeliest token after a text is above the next, over the largest |logit|.
double margin_after(const LanguageModel& model, const std::string& text) {
  const auto ids = tokenizer().encode(text);
  const auto n = static_cast<int64_t>(ids.size());
  const Tensor y = model.logits(Tensor::view_of(std::span(ids), {1, n}), {});
  std::vector<double> row;
  double most = 0;
  for (int64_t q = 0; q < model.vocab(); ++q) {
    row.push_back(at(y, n - 1, q));
    most = std::max(most, std::abs(row.back()));
  }
  std::ranges::sort(row, std::greater());
  return (row[0] - row[1]) / most;
}

}  // namespace

TEST_CASE("speculate: greedy texts are the target's own, with a draft of any family") {
  for (const DType type : {DType::f64, DType::f32})
    for (size_t i = 0; i < kFamilies.size(); ++i) {
      const Model target = model_of(kFamilies[i], type), other = model_of(kFamilies[(i + 1) % kFamilies.size()], type);
      const Model shallow = model_of(kFamilies[i], type);
      shallow->exit_after(1);
      for (const LanguageModel* draft : {other.get(), shallow.get(), target.get()})
        for (const int64_t most : {1, 4}) {
          CAPTURE(kFamilies[i]);
          GenerateOptions o{.tokens = 120, .sampler = {.temperature = 0}};
          o.draft.tokens = most;
          const std::string plain = text_of(*target, o);
          DraftCounts counts;
          const std::string drafted = text_of(*target, o, draft, &counts);
          CHECK(counts.tokens == 120);
          CHECK(counts.accepted <= counts.checked);
          CHECK(counts.checked <= counts.drafted);
          if (draft == target.get()) CHECK(counts.calls <= 120 / (most + 1) + 2);
          const size_t at = static_cast<size_t>(std::ranges::mismatch(plain, drafted).in1 - plain.begin());
          if (at < plain.size()) {
            CHECK(type == DType::f32);
            CHECK(margin_after(*target, "abc\nfed" + plain.substr(0, at)) < 1e-4);
          }
        }
    }
}

TEST_CASE("speculate: a draft that is the target has all its tokens accepted, with any filter") {
  for (const std::string& layers : kFamilies)
    for (const SamplerOptions& sampler :
         {SamplerOptions{}, {.temperature = 0.7, .top_k = 3}, {.temperature = 1.3, .top_p = 0.8}}) {
      CAPTURE(layers);
      const Model target = model_of(layers), draft = model_of(layers);
      DraftCounts counts;
      text_of(*target, {.tokens = 100, .sampler = sampler}, draft.get(), &counts);
      CHECK(counts.drafted > 70);
      CHECK(counts.checked == counts.drafted);
      CHECK(counts.accepted == counts.drafted);
      CHECK(counts.calls <= 22);
    }
}

TEST_CASE("speculate: a draft goes on from what has stayed of its tokens") {
  for (const std::string& layers : kFamilies) {
    const Model model = model_of(layers);
    const std::vector<int32_t> prompt = {1, 2, 3, 0, 4};
    const auto begun = [&] { return draft_by_model({.model = model.get()}, prompt, 60, {}); };
    const auto draft = begun();
    std::vector<int32_t> text = prompt;
    for (const size_t stay : {0, 4, 2, 3, 1, 4, 0}) {
      CAPTURE(layers);
      CAPTURE(stay);
      const auto index = static_cast<uint64_t>(text.size());
      const auto drafted = draft->propose(text, 4, 7, index), fresh = begun()->propose(text, 4, 7, index);
      REQUIRE(drafted.size() == 4);
      for (size_t i = 0; i < 4; ++i) {
        CHECK(drafted[i].token == fresh[i].token);
        for (size_t t = 0; t < drafted[i].q.size(); ++t) CHECK(std::abs(drafted[i].q[t] - fresh[i].q[t]) < 1e-9);
      }
      for (size_t i = 0; i < stay; ++i) text.push_back(drafted[i].token);
      text.push_back(stay < 4 ? (drafted[stay].token + 1) % 9 : 5);
    }
  }
}

TEST_CASE("speculate: a draft without a model repeats what followed the last tokens before") {
  const auto draft = draft_by_lookup(9);
  const auto tokens = [&](const std::vector<int32_t>& text, int64_t most) {
    std::vector<int32_t> all;
    for (const Drafted& d : draft->propose(text, most, 0, 0)) {
      CHECK(d.q.size() == 9);
      for (size_t t = 0; t < 9; ++t) CHECK(d.q[t] == (static_cast<int32_t>(t) == d.token ? 1 : 0));
      all.push_back(d.token);
    }
    return all;
  };
  using Ids = std::vector<int32_t>;
  CHECK(tokens({1, 2, 3, 4, 5, 1, 2}, 3) == Ids{3, 4, 5});
  CHECK(tokens({1, 2, 3, 4, 5, 1, 2}, 6) == Ids{3, 4, 5, 1, 2, 3});
  CHECK(tokens({0, 1, 2, 3, 7, 1, 2, 4, 1, 2}, 1) == Ids{4});     // the latest place
  CHECK(tokens({0, 1, 2, 3, 7, 1, 2, 4, 0, 1, 2}, 1) == Ids{3});  // with more of the last tokens
  CHECK(tokens({1, 1, 1}, 3) == Ids{1, 1, 1});
  CHECK(tokens({2, 1, 3, 1}, 3).empty());  // one alone is too few
  CHECK(tokens({1}, 3).empty());
  const Model target = model_of(kFamilies[1]);
  GenerateOptions o{.tokens = 200, .sampler = {.temperature = 0}};
  const std::string plain = text_of(*target, o);
  o.draft.lookup = true;
  DraftCounts counts;
  CHECK(text_of(*target, o, nullptr, &counts) == plain);
  CHECK(counts.accepted > 50);  // a greedy text of a small model repeats itself
}

TEST_CASE("speculate: texts start anew where the target's would, and where the draft's own limit is") {
  const Model target = build_model(
      "{d_model: 8, positions: learned, max_tokens: 8, tie_embeddings: false, init: {std: 1.0}, layers: [{mixer: "
      "{type: attention, heads: 2}}]}",
      9, 8);
  const Model free = model_of(kFamilies[0]), recurrent = model_of(kFamilies[2]);
  GenerateOptions o{.tokens = 60, .sampler = {.temperature = 0}};
  o.draft.tokens = 5;
  CHECK(text_of(*target, o, free.get()) == text_of(*target, o));
  CHECK(text_of(*target, o, target.get()) == text_of(*target, o));
  for (const bool anew : {false, true}) {
    o.draft.context = {.tokens = 6, .anew = anew};
    CHECK(text_of(*free, o, free.get()) == text_of(*free, o));
    CHECK(text_of(*recurrent, o, free.get()) == text_of(*recurrent, o));
    GenerateOptions limited = o;
    limited.context = {.tokens = 7, .anew = anew};
    CHECK(text_of(*free, limited, target.get()) == text_of(*free, limited));
    CHECK(text_of(*free, limited) != text_of(*free, o));
  }
}

TEST_CASE("speculate: after a prefix that is read at once the text is the target's own") {
  const auto objective = Choice(all_objectives, "prefix_lm").build();
  const Model target = build_model_for(
      *objective,
      "{d_model: 8, tie_embeddings: false, init: {std: 1.0}, layers: [{mixer: {type: attention, heads: 2}}]}", 9);
  const Model draft = model_of(kFamilies[2]);
  const GenerateOptions o{.tokens = 60, .sampler = {.temperature = 0}};
  CHECK(text_of(*target, o, draft.get()) == text_of(*target, o));
  CHECK(text_of(*draft, o, target.get()) == text_of(*draft, o));
}

TEST_CASE("speculate: samples are the same alone and with others, stop where they should, and need no draft") {
  const Model target = model_of(kFamilies[0]), draft = model_of(kFamilies[2]);
  const auto texts = [&](const GenerateOptions& given, DraftCounts* counts = nullptr) {
    GenerateOptions o = given;
    o.draft.model = draft.get();
    return generate(*target, tokenizer(), "abc", o, {}, counts);
  };
  const auto all = texts({.tokens = 40, .samples = 3});
  CHECK(all[0] != all[1]);
  CHECK(texts({.tokens = 40, .samples = 3}) == all);
  CHECK(texts({.tokens = 40}) == std::vector{all[0]});
  CHECK(texts({.tokens = 40, .sampler = {.seed = 2}})[0] != all[0]);
  DraftCounts counts;
  const std::string stop = all[0].substr(20, 2);
  CHECK(texts({.tokens = 40, .stop = {stop}}, &counts)[0] == all[0].substr(0, all[0].find(stop)));
  CHECK(counts.tokens == static_cast<int64_t>(all[0].find(stop)) + 2);
  counts = {};
  CHECK(texts({.tokens = 1}, &counts)[0].size() == 1);  // there is nothing to draft
  CHECK(counts.drafted == 0);
  CHECK(texts({.tokens = 0})[0].empty());
}

// G of the counts of texts against their probabilities, which is distributed like chi square.
TEST_CASE("speculate: texts of up to three tokens have the target's distribution") {
  constexpr std::string_view kFew = "abc";
  constexpr int64_t kDraws = 100000;
  const auto few = build_tokenizer("char", kFew);
  const auto tiny = [&](std::string_view mixer, uint64_t seed) {
    return build_model("{d_model: 4, tie_embeddings: false, init: {std: 0.7}, layers: [{mixer: " + std::string(mixer) +
                           ", ffn: none}]}",
                       3, 64, DType::f64, seed);
  };
  const Model target = tiny("{type: attention, heads: 1}", 1), draft = tiny("min_gru", 2);
  const SamplerOptions sampler{.temperature = 0.9, .top_p = 0.97};
  GenerateOptions o{.tokens = 3, .samples = kDraws, .sampler = sampler};
  o.draft = {.model = draft.get(), .tokens = 2};
  DraftCounts counts;
  std::map<std::string, double> seen;
  for (const std::string& text : generate(*target, *few, "a", o, {}, &counts)) ++seen[text];
  CHECK(counts.accepted > kDraws / 5);
  CHECK(counts.checked - counts.accepted > kDraws / 5);
  const auto after = [&](const std::string& text) {
    const auto ids = few->encode("a" + text);
    const auto n = static_cast<int64_t>(ids.size());
    const Tensor y = target->logits(Tensor::view_of(std::span(ids), {1, n}), {});
    return probabilities(std::span<const double>(y.view<double>().row(n - 1), 3), sampler);
  };
  for (const size_t length : {1, 2, 3}) {
    std::map<std::string, double> had, expected = {{"", 1.0}};
    for (const auto& [text, n] : seen) had[text.substr(0, length)] += n;
    for (size_t i = 0; i < length; ++i) {
      std::map<std::string, double> next;
      for (const auto& [text, p] : expected)
        for (size_t c = 0; c < 3; ++c)
          if (const double q = after(text)[c]; q > 0) next[text + kFew[c]] = p * q;
      expected = next;
    }
    double g = 0, least = kDraws;
    for (const auto& [text, n] : had) {
      REQUIRE(expected.contains(text));
      g += 2 * n * std::log(n / (kDraws * expected[text]));
      least = std::min(least, kDraws * expected[text]);
    }
    CAPTURE(length);
    CAPTURE(least);
    const auto df = static_cast<double>(expected.size() - 1);
    const double wide = 2 / (9 * df), bound = df * std::pow(1 - wide + 3.5 * std::sqrt(wide), 3);  // Wilson-Hilferty
    CHECK(g < bound);
    CHECK(df >= 2);
  }
}

TEST_CASE("speculate: a draft that does not fit is told") {
  const Model target = model_of(kFamilies[0]), draft = model_of(kFamilies[2]);
  const auto with = [](const LanguageModel& t, const LanguageModel& d, int64_t tokens = 4) {
    check(DraftOptions{.model = &d, .tokens = tokens}, t);
  };
  with(*target, *draft);
  CHECK_THROWS_WITH_AS(with(*target, *draft, 0), doctest::Contains("0 tokens to draft"), ConfigError);
  const Model larger = build_model("{d_model: 8, layers: [{mixer: min_gru}]}", 12);
  CHECK_THROWS_WITH_AS(with(*target, *larger), doctest::Contains("12 tokens, the model 9 tokens"), ConfigError);
  const auto masked = Choice(all_objectives, "masked_diffusion").build();
  const Model diffusion = build_model_for(*masked, "{d_model: 8, layers: [{mixer: {type: attention, heads: 2}}]}", 9);
  CHECK_THROWS_WITH_AS(with(*target, *diffusion), doctest::Contains("the draft predicts what noise hides"),
                       ConfigError);
  CHECK_THROWS_WITH_AS(with(*diffusion, *draft), doctest::Contains("the model predicts what noise hides"), ConfigError);
  const Model encoder = build_model(
      "{d_model: 8, layers: [{mixer: min_gru, cross: {type: attention, heads: 2}}], encoder: {layers: [{mixer: {type: "
      "attention, heads: 2}}]}}",
      9);
  CHECK_THROWS_WITH_AS(with(*target, *encoder), doctest::Contains("the draft has an encoder"), ConfigError);
}
