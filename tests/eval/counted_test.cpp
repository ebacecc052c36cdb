// Every byte of a text is counted once: scored, context alone, or not read.
#include <doctest/doctest.h>

#include "eval/evaluator.h"
#include "support/models.h"
#include "support/named.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr const char* kModel = "{d_model: 8, layers: [{mixer: {type: attention, heads: 2}}]}";

struct Given {
  std::string name, text;
  bool utf8 = true;
};

std::vector<Given> sources() {
  std::string plain, mixed = "\xef\xbb\xbf";
  for (int i = 0; i < 9; ++i) plain += "line " + std::to_string(i) + "\n", mixed += "é€ 𝄞 naïve\n";
  std::string bytes = mixed;
  for (int i = 0; i < 256; ++i) bytes += static_cast<char>(i);
  return {{"plain", plain},
          {"mixed", mixed},
          {"not UTF-8", bytes, false},
          {"cut within characters", mixed.substr(4, mixed.size() - 7), false},
          {"two bytes", "ab"}};
}

std::vector<std::string_view> tokenizers_of(const Given& s) {
  std::vector<std::string_view> names;
  for (const TokenizerInfo* info : all_tokenizers)
    if (s.utf8 || info->name == "byte") names.push_back(info->name);
  return names;
}

}  // namespace

TEST_CASE("counted: all bytes of a text are scored, context alone or not read, in every protocol, of every tokenizer") {
  for (const Given& s : sources())
    for (const std::string_view tokenizer_name : tokenizers_of(s)) {
      const auto tokenizer = build_tokenizer(tokenizer_name, s.text);
      const TokenizedText text = tokenize_text(*tokenizer, s.text, "\n", s.name);
      const auto model = build_model_for(next_token(), kModel, tokenizer->vocab_size());
      const auto tokens = static_cast<int64_t>(text.tokens.size());
      for (const ProtocolInfo* p : all_protocols)
        for (const bool reset : {false, true})
          for (const int64_t most : {int64_t{0}, int64_t{1}, int64_t{20}}) {
            CAPTURE(s.name);
            CAPTURE(tokenizer_name);
            CAPTURE(p->name);
            CAPTURE(reset);
            CAPTURE(most);
            const EvalResult r = evaluate(
                *model, next_token(), text, *tokenizer,
                {.protocol = protocol(p->name), .tokens = 7, .batch = 2, .max_tokens = most, .reset_documents = reset});
            CHECK(r.bytes + r.context_only.bytes + r.unread.bytes == static_cast<int64_t>(s.text.size()));
            CHECK(r.tokens + r.context_only.tokens + r.unread.tokens == tokens);
            CHECK(r.unread.tokens == (most ? std::max<int64_t>(0, tokens - 1 - most) : 0));
            if (!reset) {
              CHECK(r.context_only.tokens == 1);
              CHECK(r.context_only.bytes == tokenizer->bytes_of(text.tokens[0]));
            } else if (!most) {
              CHECK(r.context_only.tokens == static_cast<int64_t>(text.document_starts.size()));
            }
          }
    }
}

TEST_CASE("counted: what an objective scores, or gives to an encoder, is counted with it") {
  std::string source;
  for (int i = 0; i < 12; ++i) source += "line " + std::to_string(i) + "é\n";
  const auto tokenizer = build_tokenizer("char", source);
  const TokenizedText text = tokenize_text(*tokenizer, source, "", "text");
  constexpr const char* kEncoder =
      "{d_model: 8, block: {cross: {type: attention, heads: 2}}, encoder: {layers: [{mixer: {type: attention, heads: "
      "2}}]}, layers: [{mixer: {type: attention, heads: 2}}]}";
  for (const ObjectiveInfo* info : all_objectives) {
    CAPTURE(info->name);
    const bool encoder = info->name == "seq2seq" || info->name == "span_corruption";
    const auto o = Choice(all_objectives, info->name).build();
    const auto model = build_model_for(*o, encoder ? kEncoder : kModel, tokenizer->vocab_size());
    const EvalResult r = evaluate(*model, *o, text, *tokenizer, {.tokens = 8, .bound_samples = o->bound() ? 1 : 0});
    CHECK(r.bytes + r.context_only.bytes == static_cast<int64_t>(source.size()));
    CHECK(r.unread.tokens == 0);
    if (encoder)
      CHECK(r.context_only.tokens > 20);
    else
      CHECK(r.context_only.tokens == o->scored_ahead());
  }
}

TEST_CASE("counted: a token that would be scored twice, or in another's place, is an error") {
  struct Again final : Objective {  // scores the first window's targets in every window
    void cut(const Stretch& s, Batch& batch) const override {
      Stretch first = s;
      first.begin = 0, first.end = s.end - s.begin, first.scored = 0;
      Objective::cut(first, batch);
    }
  };
  const auto tokenizer = build_tokenizer("byte", "");
  const TokenizedText text = tokenize_text(*tokenizer, "abcdefghijklmnop", "", "text"),
                      same = tokenize_text(*tokenizer, "aaaaaaaaaaaaaaaa", "", "text");
  const Again again;
  const auto model = build_model_for(again, kModel, 256);
  CHECK_THROWS_WITH(evaluate(*model, again, text, *tokenizer, {.tokens = 4}), doctest::Contains("in another's place"));
  CHECK_NOTHROW(evaluate(*model, again, same, *tokenizer, {.tokens = 4}));  // windows side by side look alike
  struct Overlapping final : Objective {
    void cut(const Stretch& s, Batch& batch) const override {
      Stretch all = s;
      all.scored = 0;
      Objective::cut(all, batch);
    }
  };
  CHECK_THROWS_WITH(
      evaluate(*model, Overlapping(), text, *tokenizer, {.protocol = protocol("sliding", 2), .tokens = 4}),
      doctest::Contains("scored twice"));
}
