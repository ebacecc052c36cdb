#include "decode/context_limit.h"

#include <doctest/doctest.h>

#include <limits>

#include "config/yaml.h"
#include "decode/generator.h"
#include "support/models.h"
#include "support/named.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr std::string_view kSymbols = "\nabcdefgh";

// A model of these mixers whose next token depends on what came before.
std::unique_ptr<LanguageModel> model_of(const std::string& mixers, const std::string& more = "", int64_t context = 64) {
  return build_model("{d_model: 8, tie_embeddings: false, init: {std: 1.0}" + more + ", layers: [" + mixers + "]}",
                     static_cast<int64_t>(kSymbols.size()), context);
}

std::string generated(const LanguageModel& model, const ContextLimit& limit, const std::string& prompt,
                      int64_t tokens) {
  const auto tokenizer = build_tokenizer("char", kSymbols);
  return generate(model, *tokenizer, prompt, {.tokens = tokens, .context = limit})[0];
}

struct Wanted {
  int64_t tokens;
  bool anew;
  bool operator==(const Wanted&) const = default;
};
Wanted chosen(const std::string& mixers, int64_t trained, std::optional<int64_t> asked = {}) {
  const ContextLimit limit = context_limit(*model_of(mixers), trained, asked);
  return {limit.tokens, limit.anew};
}

constexpr const char* kRope = "{mixer: {type: attention, heads: 2}}";
constexpr const char* kGru = "{mixer: {type: min_gru}}";
constexpr const char* kMoba = "{mixer: {type: moba, heads: 2, block: 3, top_k: 2}}";

}  // namespace

TEST_CASE("context limit: what training saw where a mechanism can't follow more, otherwise none") {
  const Wanted none{0, false};
  CHECK(chosen(kRope, 16) == Wanted{16, false});
  CHECK(chosen("{mixer: {type: mla, heads: 2}}", 16) == Wanted{16, false});
  CHECK(chosen("{mixer: {type: attention, position: none}}", 16) == Wanted{16, false});
  CHECK(chosen("{mixer: {type: attention, position: alibi}}", 16) == none);
  for (const auto& [window, limit] : {std::pair{15, 0}, {16, 0}, {17, 16}, {1000, 16}})
    CHECK(chosen("{mixer: {type: attention, window: " + std::to_string(window) + "}}", 16) == Wanted{limit, false});
  CHECK(chosen("{mixer: {type: attention, window: 8, sinks: 2}}", 16) == Wanted{16, true});
  CHECK(chosen("{mixer: {type: attention, window: 8, sinks: 2, position: alibi}}", 16) == none);
  CHECK(chosen("{mixer: {type: attention, window: 8, sinks: 8, position: none}}", 16) == none);
  CHECK(chosen("{mixer: {type: attention, window: 8, sinks: 9, position: none}}", 16) == Wanted{16, false});
  for (const char* recurrent :
       {kGru, "{mixer: {type: gla, heads: 2}}", "{mixer: {type: rwkv6, head_dim: 4}}", "{mixer: {type: lstm}}"})
    CHECK(chosen(recurrent, 16) == none);
  CHECK(chosen(kMoba, 16) == Wanted{16, true});
  for (const char* type : {"ttt_linear", "delta_net", "linear_attention", "taylor", "s4d", "retnet"})
    CHECK(chosen(std::string("{mixer: {type: ") + type + "}}", 16) == Wanted{16, true});
  CHECK(chosen("{mixer: {type: s4d}}", 9210) == Wanted{9210, true});  // exp(-0.0005 t) is 0.01 at t = 9210.3
  CHECK(chosen("{mixer: {type: s4d}}", 9211) == none);
  CHECK(chosen("{mixer: {type: retnet, heads: 1}}", 145) == Wanted{145, true});  // (31/32)^t is 0.01 at 145.05
  CHECK(chosen("{mixer: {type: retnet, heads: 1}}", 146) == none);
  CHECK(chosen("{mixer: {type: linearized_attention, group: 16, global: false}}", 16) == none);
  CHECK(chosen("{mixer: {type: linearized_attention, group: 17, global: false}}", 16) == Wanted{16, true});
  CHECK(chosen("{mixer: {type: linearized_attention, group: 8}}", 16) == Wanted{16, true});
  // One part decides for the model.
  CHECK(chosen(std::string(kGru) + ", " + kRope, 16) == Wanted{16, false});
  CHECK(chosen(std::string(kRope) + ", " + kMoba, 16) == Wanted{16, true});
  CHECK(chosen("{mixer: {type: parallel, branches: [{type: min_gru}, {type: mla, heads: 2}]}}", 16) ==
        Wanted{16, false});
  CHECK(chosen("{mixer: {type: parallel, branches: [{type: moba, heads: 2}, {type: mla, heads: 2}]}}", 16) ==
        Wanted{16, true});
  // States that were carried from step to step have seen all distances of their windows.
  const int64_t forever = std::numeric_limits<int64_t>::max();
  CHECK(chosen("{mixer: {type: attention, window: 17}}", forever) == none);
}

TEST_CASE("context limit: a wish goes before, one that can't be fulfilled is an error") {
  CHECK(chosen(kRope, 16, 40) == Wanted{40, false});
  CHECK(chosen(kRope, 16, 0) == Wanted{0, false});
  CHECK(chosen(kMoba, 16, 5) == Wanted{5, true});
  CHECK(chosen(kMoba, 16, 0) == Wanted{0, false});
  CHECK(chosen("{mixer: {type: attention, position: alibi}}", 16, 5) == Wanted{5, false});
  CHECK_THROWS_AS(chosen(kRope, 16, -1), ConfigError);
  CHECK_THROWS_AS(chosen(kGru, 16, 5), ConfigError);
  CHECK(chosen(kGru, 16, 0) == Wanted{0, false});
  const auto learned = model_of(kGru, ", positions: learned, max_tokens: 12", 8);
  CHECK(context_limit(*learned, 8).tokens == 8);  // what lies beyond was never trained
  CHECK(context_limit(*learned, 8).anew);
  CHECK(context_limit(*learned, 8, 12).tokens == 12);
  CHECK_THROWS_AS(context_limit(*learned, 8, 13), ConfigError);
  CHECK_THROWS_AS(context_limit(*learned, 8, 0), ConfigError);
}

TEST_CASE("context limit: it takes effect where a token is read that doesn't fit") {
  const ContextLimit limit{.tokens = 8};
  CHECK_FALSE(limit.takes_effect(2, 7));
  CHECK(limit.takes_effect(2, 8));
  CHECK(limit.takes_effect(2, std::numeric_limits<int64_t>::max()));
  CHECK_FALSE(ContextLimit{}.takes_effect(1000, 1000));
}

TEST_CASE("generator: with a limit attention is that of a window, and recurrences go on") {
  struct Pair {
    std::string without, with;  // the same parameters, without and with a window of 6
  };
  for (const Pair& p :
       {Pair{"{type: attention, heads: 2}", "{type: attention, heads: 2, window: 6}"},
        {"{type: attention, heads: 2, position: alibi}", "{type: attention, heads: 2, position: alibi, window: 6}"},
        {"{type: attention, heads: 2, position: none, window: 9}",
         "{type: attention, heads: 2, position: none, window: 6}"}}) {
    const auto layers = [](const std::string& mixer) {
      return "{mixer: " + mixer + "}, {mixer: {type: min_gru}}, {mixer: " + mixer + "}";
    };
    const auto all = model_of(layers(p.without)), windowed = model_of(layers(p.with));
    for (const std::string prompt : {"ab", "abcdefghhgfedcbaabcdefgh"}) {
      const std::string text = generated(*windowed, {}, prompt, 60);
      CHECK(generated(*all, {.tokens = 6}, prompt, 60) == text);
      CHECK(generated(*all, {}, prompt, 60) != text);
    }
  }
}

TEST_CASE("generator: a limit that never takes effect changes nothing") {
  for (const char* mixer : {kRope, kMoba, "{mixer: {type: mla, heads: 2}}"}) {
    const auto model = model_of(mixer);
    const bool anew = context_limit(*model, 16).anew;
    const std::string text = generated(*model, {}, "abc", 30);
    CHECK(generated(*model, {.tokens = 32, .anew = anew}, "abc", 30) == text);
    CHECK(generated(*model, {.tokens = 8, .anew = anew}, "abc", 30) != text);
  }
}

TEST_CASE("generator: where a limit says so, the text goes on from the last half") {
  const auto tokenizer = build_tokenizer("char", kSymbols);
  for (const char* mixer : {kMoba, kRope}) {
    const auto model = model_of(mixer);
    const GenerateOptions greedy{.tokens = 30, .sampler = {.temperature = 0}, .context = {.tokens = 8, .anew = true}};
    // The definition: at 8 tokens the context shrinks to the newest 4.
    std::string context = "ab", expected;
    while (expected.size() < 30) {
      const std::string next = generate(*model, *tokenizer, context, {.tokens = 1, .sampler = {.temperature = 0}})[0];
      expected += next, context += next;
      if (context.size() > 8) context = context.substr(context.size() - 4);
    }
    CHECK(generate(*model, *tokenizer, "ab", greedy)[0] == expected);
    const std::string longer = "abcdefghabcde";
    CHECK(generate(*model, *tokenizer, longer, greedy)[0].substr(0, 1) ==
          generate(*model, *tokenizer, longer.substr(5), {.tokens = 1, .sampler = {.temperature = 0}})[0]);
  }
}
