#include "decode/generator.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <memory>

#include "base/error.h"
#include "support/named.h"
#include "support/tensors.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr std::string_view kSymbols = "\nabcdefgh";

struct TinyModel {
  std::unique_ptr<Tokenizer> tokenizer = build_tokenizer("char", kSymbols);
  LanguageModel model;
  explicit TinyModel(std::string_view yaml, int64_t context = 64, DType type = DType::f64)
      : model(read_model_config(parse_config(yaml, "test.yaml"), context),
              build_tokenizer("char", kSymbols)->vocab_size()) {
    model.params().materialize(5, type);
  }
  // Logits of the last token of a whole forward pass over `text`.
  std::vector<double> last_logits(const std::string& text) const {
    const auto ids = tokenizer->encode(text);
    const auto n = static_cast<int64_t>(ids.size());
    const Tensor y = model.logits(Tensor::view_of(std::span(ids), {1, n}), {});
    std::vector<double> row;
    for (int64_t q = 0; q < model.vocab(); ++q) row.push_back(at(y, n - 1, q));
    return row;
  }
};

// Large initial weights: what comes next must depend on what came before.
constexpr std::string_view kGru =
    "{d_model: 8, tie_embeddings: false, init: {std: 1.0}, block: {ffn: {type: mlp}},"
    " layers: [{mixer: {type: min_gru}}, {mixer: {type: min_gru, conv: 3}, ffn: {type: rwkv_channel_mix}}]}";
constexpr std::string_view kAttention =
    "{d_model: 8, tie_embeddings: false, init: {std: 1.0}, layers: [{mixer: {type: attention, heads: 2}}]}";
constexpr std::string_view kLearned =
    "{d_model: 8, positions: learned, max_tokens: 8, tie_embeddings: false, init: {std: 1.0},"
    " layers: [{mixer: {type: attention, heads: 2}}]}";

std::string greedy_by_forward(const TinyModel& tiny, std::string text, int64_t tokens) {
  const size_t prompt = text.size();
  for (int64_t i = 0; i < tokens; ++i) {
    const auto row = tiny.last_logits(text);
    const auto id = static_cast<int32_t>(std::ranges::max_element(row) - row.begin());
    text += tiny.tokenizer->decode(std::span(&id, 1));
  }
  return text.substr(prompt);
}

std::string sampled_by_forward(const TinyModel& tiny, std::string text, int64_t tokens, const SamplerOptions& o,
                               uint64_t sample_index) {
  const size_t prompt = text.size();
  for (int64_t i = 0; i < tokens; ++i) {
    const auto row = tiny.last_logits(text);
    const int32_t id = sample(std::span<const double>(row), o, sample_index, static_cast<uint64_t>(i));
    text += tiny.tokenizer->decode(std::span(&id, 1));
  }
  return text.substr(prompt);
}

}  // namespace

TEST_CASE("generator: greedy text is the argmax of teacher-forced logits") {
  const Poison poison;
  for (const std::string_view yaml : {kGru, kAttention}) {
    const TinyModel tiny(yaml);
    for (const std::string prompt : {"a", "bad\ncafe"}) {
      const auto texts = generate(tiny.model, *tiny.tokenizer, prompt, {.tokens = 20, .sampler = {.temperature = 0}});
      REQUIRE(texts.size() == 1);
      CHECK(texts[0] == greedy_by_forward(tiny, prompt, 20));
    }
  }
}

TEST_CASE("generator: a prompt longer than one piece of the prefill counts as a whole") {
  const TinyModel tiny(kGru);
  std::string prompt;
  for (int i = 0; i < 600; ++i) prompt += kSymbols[static_cast<size_t>(i * i % 7 + 1)];
  const auto texts = generate(tiny.model, *tiny.tokenizer, prompt, {.tokens = 5, .sampler = {.temperature = 0}});
  CHECK(texts[0] == greedy_by_forward(tiny, prompt, 5));
}

TEST_CASE("generator: samples differ, each is the same alone, with others and again") {
  for (const std::string_view yaml : {kGru, kAttention}) {
    const TinyModel tiny(yaml);
    const auto run = [&](const GenerateOptions& o) { return generate(tiny.model, *tiny.tokenizer, "abc", o); };
    const auto texts = run({.tokens = 30, .samples = 3});
    REQUIRE(texts.size() == 3);
    CHECK(texts[0] != texts[1]);
    CHECK(texts[1] != texts[2]);
    CHECK(run({.tokens = 30, .samples = 3}) == texts);
    CHECK(run({.tokens = 30})[0] == texts[0]);
    CHECK(run({.tokens = 12})[0] == texts[0].substr(0, 12));
    CHECK(run({.tokens = 30, .sampler = {.seed = 2}})[0] != texts[0]);
    // No sample sees the state that another one left.
    for (uint64_t s = 0; s < 3; ++s) CHECK(texts[s] == sampled_by_forward(tiny, "abc", 30, {}, s));
  }
}

TEST_CASE("generator: pieces joined are the text, in order, sample by sample") {
  const TinyModel tiny(kGru);
  std::vector<std::string> joined(2);
  std::vector<int64_t> order;
  const auto texts =
      generate(tiny.model, *tiny.tokenizer, "a", {.tokens = 9, .samples = 2}, [&](int64_t s, std::string_view piece) {
        CHECK(piece.empty() == (order.empty() || order.back() != s));  // it announces the sample
        joined[static_cast<size_t>(s)] += piece;
        order.push_back(s);
      });
  CHECK(joined == texts);
  CHECK(order.size() == 20);
  CHECK(std::ranges::is_sorted(order));
}

TEST_CASE("generator: an empty prompt is a newline, or token 0 where there is none") {
  const TinyModel tiny(kGru);
  const GenerateOptions o{.tokens = 10, .sampler = {.temperature = 0}};
  CHECK(generate(tiny.model, *tiny.tokenizer, "", o)[0] == greedy_by_forward(tiny, "\n", 10));
  const auto other = build_tokenizer("char", "abcdefghi");  // as many symbols, no newline: token 0 is `a`
  CHECK(generate(tiny.model, *other, "", o) == generate(tiny.model, *other, "a", o));
}

TEST_CASE("generator: with learned positions the text goes on from the last half of the window") {
  const TinyModel tiny(kLearned, 8);
  const auto text = generate(tiny.model, *tiny.tokenizer, "ab", {.tokens = 30, .sampler = {.temperature = 0}})[0];
  CHECK(text.size() == 30);
  // The definition: at 8 tokens the context shrinks to the newest 4.
  std::string context = "ab", expected;
  while (expected.size() < 30) {
    const std::string next = greedy_by_forward(tiny, context, 1);
    expected += next, context += next;
    if (context.size() > 8) context = context.substr(context.size() - 4);
  }
  CHECK(text == expected);
  const std::string prompt = "abcdefghabcde";
  CHECK(generate(tiny.model, *tiny.tokenizer, prompt, {.tokens = 1, .sampler = {.temperature = 0}})[0] ==
        greedy_by_forward(tiny, prompt.substr(prompt.size() - 8), 1));
}

TEST_CASE("generator: a text ends before the first stop string, and the callback never sees a part of it") {
  const TinyModel tiny(kGru);
  const std::string whole = generate(tiny.model, *tiny.tokenizer, "ab", {.tokens = 60})[0];
  const std::string stop = whole.substr(20, 3);
  std::string seen;
  const auto text = generate(tiny.model, *tiny.tokenizer, "ab", {.tokens = 60, .stop = {"zz", stop}},
                             [&](int64_t, std::string_view piece) { seen += piece; })[0];
  CHECK(text == whole.substr(0, whole.find(stop)));
  CHECK(seen == text);
  // A stop string that begins in the prompt stops nothing.
  const std::string across = "b" + whole.substr(0, 1);
  const std::string few = whole.substr(0, 3);
  CHECK(generate(tiny.model, *tiny.tokenizer, "ab", {.tokens = 3, .stop = {across}})[0] ==
        few.substr(0, few.find(across)));
}

TEST_CASE("generator: nothing to do, and options that make no sense") {
  const TinyModel tiny(kGru);
  const auto run = [&](const GenerateOptions& o) { return generate(tiny.model, *tiny.tokenizer, "a", o); };
  CHECK(run({.tokens = 0, .samples = 2}) == std::vector<std::string>{"", ""});
  CHECK_THROWS_AS(run({.tokens = -1}), ConfigError);
  CHECK_THROWS_AS(run({.samples = 0}), ConfigError);
  CHECK_THROWS_AS(run({.stop = {""}}), ConfigError);
  CHECK_THROWS_AS(run({.sampler = {.temperature = -1}}), ConfigError);
  CHECK_THROWS_AS(generate(tiny.model, *build_tokenizer("byte", ""), "a", {}), ConfigError);
  CHECK_THROWS_AS(generate(tiny.model, *tiny.tokenizer, "xyz", {}), DataError);
}

TEST_CASE("generator: f32 models generate the same text twice") {
  const TinyModel tiny(kGru, 64, DType::f32);
  const auto once = generate(tiny.model, *tiny.tokenizer, "a", {.tokens = 40, .samples = 2});
  CHECK(once == generate(tiny.model, *tiny.tokenizer, "a", {.tokens = 40, .samples = 2}));
}
