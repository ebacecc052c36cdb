// Texts of models with an encoder, against what the model gives when it is asked token by token.
#include "decode/encoded.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <iterator>
#include <tuple>

#include "decode/generator.h"
#include "support/messages.h"
#include "support/models.h"
#include "support/named.h"

using namespace effllm;
using namespace effllm::test;

namespace {

using Ids = std::vector<int32_t>;
constexpr std::string_view kModel =
    "{d_model: 8, init: {std: 2.0}, tie_embeddings: false, block: {cross: {type: attention, heads: 2}}, encoder: "
    "{layers: [{mixer: {type: attention, heads: 2}}]}, layers: [{mixer: {type: attention, heads: 2}}]}";
constexpr int64_t kVocab = 5;

std::unique_ptr<Objective> objective(const std::string& text) {
  return all_objectives.read(parse_config("{" + text + "}", "o.yaml")).build();
}

// The likeliest of the ids below `vocab`, and of `one`, after the decoder's inputs.
int32_t likeliest(const LanguageModel& model, const Ids& read, const Ids& inputs, int32_t one = 0) {
  Context cx;
  cx.memory = model.encode(Tensor::view_of(std::span(read), {1, static_cast<int64_t>(read.size())}), {});
  const Tensor logits = model.logits(Tensor::view_of(std::span(inputs), {1, static_cast<int64_t>(inputs.size())}), cx);
  const int64_t last = logits.rows() - 1;
  int32_t best = one;
  for (int32_t q = 0; q < kVocab; ++q)
    if (at(logits, last, q) > at(logits, last, best)) best = q;
  return best;
}

std::unique_ptr<Tokenizer> letters() { return build_tokenizer("char", "abcde"); }

}  // namespace

TEST_CASE("generator: an encoder reads the prompt, and the decoder goes on from its last token") {
  const auto o = objective("type: seq2seq");
  const auto model = build_model_for(*o, kModel, kVocab);
  const auto tokenizer = letters();
  GenerateOptions how{.tokens = 9};
  how.sampler.temperature = 0;
  const Ids read = {1, 4, 2, 2, 0};
  Ids inputs = {0}, expected;
  for (int i = 0; i < 9; ++i) {
    expected.push_back(likeliest(*model, read, inputs));
    inputs.push_back(expected.back());
  }
  CHECK(generate(*model, *tokenizer, "becca", how)[0] == tokenizer->decode(expected));
  // Of a row of 8 tokens the encoder reads 4 and the decoder predicts those up to the 9th: after a short prompt too it
  // has no more places than training has shown it.
  how.context = context_limit(*model, 8);
  CHECK(how.context.tokens == 8);
  CHECK(how.context.again == 4);
  CHECK(describe(how.context) ==
        "the encoder reads the last 4 tokens, the decoder writes at most 5 tokens, then the model starts anew from the "
        "last 4");
  for (const Ids& prompt : {read, Ids{1}, Ids{3, 2, 4}}) {
    Ids text = prompt, seen;
    inputs.clear();
    for (int i = 0; i < 14; ++i) {
      if (inputs.empty() || inputs.size() == 6) {  // one more than the decoder's room
        seen = Ids(text.end() - std::min<std::ptrdiff_t>(4, std::ssize(text)), text.end());
        inputs = {text.back()};
      }
      text.push_back(likeliest(*model, seen, inputs));
      inputs.push_back(text.back());
    }
    how.tokens = 14;
    CHECK(generate(*model, *tokenizer, tokenizer->decode(prompt), how)[0] ==
          tokenizer->decode(std::span(text).last(14)));
  }
  how.tokens = 9;
  // A prompt is cut, or a text goes on anew.
  for (const auto& [prompt, tokens, effect] :
       {std::tuple{4, 5, false}, {4, 6, true}, {5, 1, true}, {1, 5, false}, {1, 6, true}})
    CHECK(how.context.takes_effect(prompt, tokens) == effect);
  how.sampler.temperature = 1;
  how.samples = 3;
  const auto several = generate(*model, *tokenizer, "becca", how);
  CHECK(several[0] != several[1]);
  CHECK(generate(*model, *tokenizer, "becca", how) == several);
  how.samples = 1;
  CHECK(generate(*model, *tokenizer, "becca", how)[0] == several[0]);
}

TEST_CASE("generator: with learned positions parts of a row have their own, and texts keep to them") {
  const std::string learned = "{positions: learned, max_tokens: 12, " + std::string(kModel).substr(1);
  const auto tokenizer = letters();
  const auto half = objective("type: seq2seq");
  const auto model = build_model_for(*half, learned, kVocab, 20);
  CHECK(model->config().longest_row() == 23);  // of which 12 are read, and 12 are the decoder's
  CHECK(model->config().fits(23));
  CHECK_FALSE(model->config().fits(24));
  CHECK(context_limit(*model, 20).tokens == 20);
  CHECK(context_limit(*model, 40).tokens == 23);
  CHECK_THROWS_WITH_AS(context_limit(*model, 20, 24), doctest::Contains("learned positions for 23 tokens"),
                       ConfigError);
  GenerateOptions how{.tokens = 60};
  how.context = context_limit(*model, 40);
  for (const char* prompt : {"a", "abcdeabcdeabcdeabcde"}) generate(*model, *tokenizer, prompt, how);
  // What fills in writes as many as there are places for: all but the start and a sentinel for each end.
  const auto spans = objective("type: span_corruption, sentinels: 9");
  for (const uint64_t seed : {1U, 2U, 3U}) {
    const auto fills = build_model_for(*spans, learned, kVocab, 12, DType::f64, seed);
    CHECK(places_for(*fills, blanks_of(*fills, *tokenizer, "ab?c", "?")) == 9);
    CHECK(places_for(*fills, blanks_of(*fills, *tokenizer, "a?b?c", "?")) == 8);
    GenerateOptions most{.tokens = 9, .blank = "?"}, more = most;
    more.tokens = 100;
    const std::string text = generate(*fills, *tokenizer, "ab?c", most)[0];
    CHECK(text.size() <= 10);
    CHECK(generate(*fills, *tokenizer, "ab?c", more)[0] == text);
    CHECK(short_of_places(*fills, *tokenizer, "ab?c", most).empty());
    CHECK(short_of_places(*fills, *tokenizer, "ab?c", more) == "the decoder has learned positions for 9 new tokens");
    CHECK_THROWS_WITH_AS(generate(*fills, *tokenizer, "abcdeabcdeabc", more),
                         doctest::Contains("a prompt of 14 tokens, but the encoder has learned positions for 12"),
                         ConfigError);
  }
  const auto narrow =
      build_model_for(*spans, "{positions: learned, max_tokens: 4, " + std::string(kModel).substr(1), kVocab, 4);
  CHECK(places_for(*narrow, blanks_of(*narrow, *tokenizer, "a?", "?")) == 1);
  CHECK_THROWS_WITH_AS(blanks_of(*narrow, *tokenizer, "??", "?"),
                       doctest::Contains("a prompt with 2 blanks leaves no place for a token"), ConfigError);
}

TEST_CASE("generator: what is missing is filled in between what stands, each blank up to the next sentinel") {
  const auto o = objective("type: span_corruption, sentinels: 5");
  const auto tokenizer = letters();
  int ended = 0;
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    const auto model = build_model_for(*o, kModel, kVocab, 64, DType::f64, seed);
    GenerateOptions how{.tokens = 6};
    how.sampler.temperature = 0;
    // "ab", a blank, "c", a blank, "d": sentinels are 5, 6 and 7, the start is 9.
    const Ids read = {0, 1, 5, 2, 6, 3};
    Ids inputs = {9, 5}, text;
    int64_t left = 6;
    for (const auto& [end, after] : {std::pair{6, 2}, {7, 3}}) {
      while (left > 0) {
        const int32_t id = likeliest(*model, read, inputs, end);
        inputs.push_back(id);
        if (id == end) {
          ++ended;
          break;
        }
        text.push_back(id);
        --left;
      }
      text.push_back(after);
    }
    CHECK(generate(*model, *tokenizer, "ab___c___d", how)[0] == tokenizer->decode(text));
    CHECK(before_text(*model, "ab___c___d", how.blank) == "ab");
    CHECK(prompt_length(*model, *tokenizer, "ab___c___d", how.blank) == 6);
    how.blank = "?";
    CHECK(generate(*model, *tokenizer, "ab?c?d", how)[0] == tokenizer->decode(text));
    // Without a blank there is one at the end.
    CHECK(generate(*model, *tokenizer, "abc", how) == generate(*model, *tokenizer, "abc?", how));
    how.tokens = 0;
    CHECK(generate(*model, *tokenizer, "ab?c?d", how)[0] == "cd");
    CHECK_THROWS_WITH_AS(generate(*model, *tokenizer, "?a?b?c?", how),
                         doctest::Contains("a prompt with 4 blanks, but the model has sentinels for 3"), ConfigError);
    CHECK_THROWS_WITH_AS(context_limit(*model, 8, 4), doctest::Contains("reads the whole prompt"), ConfigError);
    how.blank = "";
    CHECK_THROWS_WITH_AS(generate(*model, *tokenizer, "a", how), doctest::Contains("an empty mark"), ConfigError);
  }
  CHECK(ended > 0);
}
