// Texts of models with an encoder, against what the model gives when it is asked token by token.
#include "decode/encoded.h"

#include <doctest/doctest.h>

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
  // Of a row of 8 tokens the encoder reads 4 and the decoder predicts those up to the 9th.
  how.context = context_limit(*model, 8);
  CHECK(how.context.tokens == 8);
  CHECK(how.context.again == 4);
  Ids text = read;
  inputs.clear();
  Ids seen;
  for (int i = 0; i < 9; ++i) {
    if (inputs.empty() || inputs.size() == 6) {  // one more than the room after so many tokens
      seen = Ids(text.end() - 4, text.end());
      inputs = {text.back()};
    }
    text.push_back(likeliest(*model, seen, inputs));
    inputs.push_back(text.back());
  }
  CHECK(generate(*model, *tokenizer, "becca", how)[0] == tokenizer->decode(std::span(text).last(9)));
  how.sampler.temperature = 1;
  how.samples = 3;
  const auto several = generate(*model, *tokenizer, "becca", how);
  CHECK(several[0] != several[1]);
  CHECK(generate(*model, *tokenizer, "becca", how) == several);
  how.samples = 1;
  CHECK(generate(*model, *tokenizer, "becca", how)[0] == several[0]);
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
