// Texts of models that see all tokens at once, against plain transcriptions of how they are chosen.
#include "decode/denoise.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "base/random.h"
#include "decode/generator.h"
#include "objectives/block_streams.h"
#include "support/models.h"
#include "support/named.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr int64_t kVocab = 5;
constexpr std::string_view kSharp =
    "{d_model: 8, init: {std: 3.0}, tie_embeddings: false, layers: [{mixer: {type: attention, heads: 2}}]}";

std::unique_ptr<LanguageModel> masked_model(std::string_view yaml = kSharp) {
  return build_model_for(*Choice(all_objectives, "masked_diffusion").build(), yaml, kVocab);
}

std::vector<Ids> blocks(const LanguageModel& model, const Ids& prompt, int64_t tokens, const DenoiseOptions& o,
                        const SamplerOptions& sampler = {}, const ContextLimit& limit = {}, int64_t sample = 0) {
  std::vector<Ids> all;
  denoise(model, prompt, tokens, o, sampler, limit, sample, [&](std::span<const int32_t> block) {
    all.emplace_back(block.begin(), block.end());
    return true;
  });
  return all;
}

Ids joined(const std::vector<Ids>& parts) {
  Ids all;
  for (const Ids& p : parts) all.insert(all.end(), p.begin(), p.end());
  return all;
}

// The likeliest token at each place and how likely it is.
std::vector<std::pair<int32_t, double>> best(const LanguageModel& model, const Ids& seen) {
  const Tensor logits = model.logits(Tensor::view_of(std::span(seen), {1, static_cast<int64_t>(seen.size())}), {});
  std::vector<std::pair<int32_t, double>> all;
  for (int64_t i = 0; i < logits.rows(); ++i) {
    int32_t top = 0;
    double z = 0;
    for (int32_t q = 0; q < kVocab; ++q) {
      z += std::exp(at(logits, i, q));
      if (at(logits, i, q) > at(logits, i, top)) top = q;
    }
    all.push_back({top, std::exp(at(logits, i, top)) / z});
  }
  return all;
}

// `count` tokens after a prompt, greedily, the surest first: `each` at a step, in blocks.
Ids surest(const LanguageModel& model, Ids text, int64_t count, int64_t block, const std::vector<int64_t>& each) {
  const size_t prompt = text.size();
  text.resize(prompt + static_cast<size_t>(count), kVocab);
  for (size_t begin = prompt; begin < text.size(); begin += static_cast<size_t>(block))
    for (const int64_t n : each) {
      const auto found = best(model, text);
      for (int64_t i = 0; i < n; ++i) {
        size_t top = text.size();
        for (size_t at = begin; at < std::min(text.size(), begin + static_cast<size_t>(block)); ++at)
          if (text[at] == kVocab && (top == text.size() || found[at].second > found[top].second)) top = at;
        text[top] = found[top].first;
      }
    }
  return {text.begin() + static_cast<ptrdiff_t>(prompt), text.end()};
}

}  // namespace

TEST_CASE("denoise: the surest tokens come first, so many a step, one block after the other") {
  const auto model = masked_model();
  const Ids prompt = {1, 4, 0};
  const SamplerOptions greedy = {.temperature = 0};
  const auto own = [&](DenoiseOptions o, int64_t n) {
    o.confident = true;
    return joined(blocks(*model, prompt, n, o, greedy));
  };
  CHECK(own({}, 9) == surest(*model, prompt, 9, 9, std::vector<int64_t>(9, 1)));
  CHECK(own({.steps = 4}, 9) == surest(*model, prompt, 9, 9, {3, 2, 2, 2}));
  CHECK(own({.steps = 30}, 9) == own({}, 9));
  CHECK(own({.steps = 2, .block = 3}, 9) == surest(*model, prompt, 9, 3, {2, 1}));
  CHECK(own({.block = 1}, 9) == surest(*model, prompt, 9, 1, {1}));
  CHECK(own({.block = 1}, 9) != own({}, 9));
  const Ids longer = {1, 4, 0, 2, 3, 3, 1};
  CHECK(joined(blocks(*model, longer, 2, {.confident = true}, greedy)) == surest(*model, longer, 2, 2, {1, 1}));
  const auto parts = blocks(*model, prompt, 8, {.block = 3});
  REQUIRE(parts.size() == 3);
  CHECK(parts[0].size() == 3);
  CHECK(parts[2].size() == 2);
  CHECK(std::ranges::max(joined(parts)) < kVocab);
  int told = 0;
  denoise(*model, prompt, 9, {.block = 3}, {}, {}, 0, [&](auto) { return ++told < 2; });
  CHECK(told == 2);
}

TEST_CASE("denoise: ancestral sampling of independent tokens has their distribution, at any number of steps") {
  const auto model = masked_model();
  for (const Parameter* p : model->params().sorted())
    if (p->name.starts_with("layers.0.mixer.out")) fill(p->value, 0);
  const Ids mask = {kVocab};
  const Tensor of_mask = model->logits(Tensor::view_of(std::span(mask), {1, 1}), {});
  double z = 0;
  for (int64_t q = 0; q < kVocab; ++q) z += std::exp(at(of_mask, 0, q));
  for (const DenoiseOptions& o :
       {DenoiseOptions{.steps = 1}, {.steps = 3}, {.steps = 50}, {.steps = 1, .confident = true}}) {
    std::vector<double> count(kVocab);
    constexpr double kTokens = 2000;
    for (int64_t sample = 0; sample < 40; ++sample)
      for (const int32_t id : joined(blocks(*model, {}, 50, o, {}, {}, sample))) ++count[static_cast<size_t>(id)];
    for (int64_t q = 0; q < kVocab; ++q) {
      const double p = std::exp(at(of_mask, 0, q)) / z;
      CHECK(std::abs(count[static_cast<size_t>(q)] / kTokens - p) < 4 * std::sqrt(p * (1 - p) / kTokens));
    }
  }
}

TEST_CASE("denoise: an equal share of the masked tokens is chosen in each ancestral step") {
  const auto model = masked_model();
  constexpr int64_t kSteps = 4, kTokens = 40;
  std::vector<int64_t> chosen(kSteps);
  for (int64_t sample = 0; sample < 30; ++sample) {
    Ids text = {2};
    text.resize(1 + kTokens, kVocab);
    for (int64_t step = 0; step < kSteps; ++step) {
      const auto found = best(*model, text);
      for (int64_t i = 0; i < kTokens; ++i) {
        const RandomStream numbers(1, "decode.unmask", static_cast<uint64_t>(sample), static_cast<uint64_t>(i));
        int32_t& id = text[static_cast<size_t>(1 + i)];
        if (id != kVocab || numbers.uniform(static_cast<uint64_t>(step)) >= 1.0 / static_cast<double>(kSteps - step))
          continue;
        id = found[static_cast<size_t>(1 + i)].first;
        ++chosen[static_cast<size_t>(step)];
      }
    }
    CHECK(joined(blocks(*model, {2}, kTokens, {.steps = kSteps}, {.temperature = 0}, {}, sample)) ==
          Ids(text.begin() + 1, text.end()));
  }
  for (const int64_t n : chosen) CHECK(std::abs(static_cast<double>(n) / (30 * kTokens) - 0.25) < 0.05);
}

TEST_CASE("denoise: a text is a function of seed and sample, and goes on from the last half where context ends") {
  const auto model = masked_model();
  const Ids prompt = {3, 1};
  const auto own = [&](const SamplerOptions& sampler, int64_t sample, const ContextLimit& limit = {}) {
    return joined(blocks(*model, prompt, 20, {.steps = 5, .block = 7}, sampler, limit, sample));
  };
  CHECK(own({}, 0) == own({}, 0));
  CHECK(own({}, 0) != own({}, 1));
  CHECK(own({.seed = 2}, 0) != own({}, 0));
  CHECK(own({}, 0, {.tokens = 22, .anew = true, .unread = 0}) == own({}, 0));
  const SamplerOptions greedy = {.temperature = 0};
  const DenoiseOptions one = {.block = 1, .confident = true};
  Ids text = prompt;
  // Room for 6: the prompt and 4, then the last 3 and 3, again and again.
  const auto part = [&](size_t kept, int64_t count) {
    const Ids next = surest(*model, {text.end() - static_cast<ptrdiff_t>(kept), text.end()}, count, 1, {1});
    text.insert(text.end(), next.begin(), next.end());
  };
  part(2, 4);
  part(3, 3);
  part(4, 2);
  CHECK(joined(blocks(*model, prompt, 9, one, greedy, {.tokens = 6, .anew = true, .unread = 0})) ==
        Ids(text.begin() + 2, text.end()));
  CHECK(joined(blocks(*model, prompt, 3, one, greedy, {.tokens = 1, .anew = true, .unread = 0})).size() == 3);
  // A prompt that fits is seen whole, whatever its share of the room.
  int differ = 0;
  for (int32_t q = 0; q < 16; ++q) {
    const Ids longer = {q % 4, q / 4, q % 4, q / 4, 1, 3, 0, 4, 4, 1};
    const Ids whole = surest(*model, longer, 2, 1, {1});
    differ += whole != surest(*model, {longer.begin() + 4, longer.end()}, 2, 1, {1});
    CHECK(joined(blocks(*model, longer, 2, one, greedy, {.tokens = 12, .anew = true, .unread = 0})) == whole);
  }
  CHECK(differ > 0);
}

TEST_CASE("denoise: a model of blocks writes them behind a state of the clean ones, as one pass sees them") {
  for (const int64_t block : {1, 3}) {
    const auto model =
        build_model_for(*read_objective(fmt::format("{{type: block_diffusion, block: {}}}", block)), kSharp, kVocab);
    const Ids prompt = {1, 4, 0, 2, 3, 3, 1};
    // The surest token of the block first, by a pass over both streams of the text as it is.
    Ids text = prompt;
    while (text.size() < 16) {
      const size_t begin = text.size(), end = (begin / static_cast<size_t>(block) + 1) * static_cast<size_t>(block);
      text.resize(end, kVocab);
      for (size_t left = end - begin; left > 0; --left) {
        const Tensor logits = in_one_pass(*model, ids_of(text, 1), ids_of(text, 1));
        double most = -1;
        std::pair<size_t, int32_t> top;
        for (size_t at_place = begin; at_place < end; ++at_place)
          for (int32_t q = 0; text[at_place] == kVocab && q < kVocab; ++q) {
            const double p =
                std::exp(-nats_by(logits.row_range(static_cast<int64_t>(at_place), {1, kVocab}), ids_of({q}, 1))[0]);
            if (p > most) most = p, top = {at_place, q};
          }
        text[top.first] = top.second;
      }
    }
    const auto written = blocks(*model, prompt, 9, {.confident = true}, {.temperature = 0});
    CHECK(joined(written) == Ids(text.begin() + 7, text.begin() + 16));
    CHECK(written.size() == (block == 1 ? 9 : 4));
    CHECK(written.front().size() == (block == 1 ? 1 : 2));
    const auto own = [&](int64_t sample, const ContextLimit& limit = {}) {
      return joined(blocks(*model, prompt, 20, {.steps = 2}, {}, limit, sample));
    };
    CHECK(own(0) == own(0));
    CHECK(own(0) != own(1));
    CHECK(own(0, {.tokens = 12, .anew = true, .unread = 0}).size() == 20);
    CHECK(joined(blocks(*model, {}, 5, {})).size() == 5);
    CHECK_THROWS_WITH_AS(check(DenoiseOptions{.block = 2}, model->config()), doctest::Contains("leave --block out"),
                         ConfigError);
    const ContextLimit usual = context_limit(*model, 32);
    CHECK(usual.tokens == 32 / block * block);
    CHECK(usual.anew);
    const ContextLimit asked = context_limit(*model, 32, 10);
    CHECK(asked.tokens == 10 / block * block);
    CHECK_FALSE(asked.takes_effect(asked.tokens - 2, 2));
    CHECK(asked.takes_effect(asked.tokens - 2, 3));
    CHECK(context_limit(*model, 32, 0).tokens == 0);
    if (block > 1)
      CHECK_THROWS_WITH_AS(context_limit(*model, 32, block - 1), doctest::Contains("at least a block"), ConfigError);
  }
}

TEST_CASE("denoise: of blocks every draw of a token has a number of its own, those that are thrown away too") {
  const auto model = build_model_for(*read_objective("{type: block_diffusion, block: 4}"), kSharp, kVocab);
  for (const Parameter* p : model->params().sorted())
    if (p->name.starts_with("layers.0.mixer.out")) fill(p->value, 0);
  const Ids mask = {kVocab};
  const Tensor logits = model->logits(Tensor::view_of(std::span(mask), {1, 1}), {});
  const std::span<const double> row(logits.view<double>().row(0), kVocab);
  const SamplerOptions flat{.temperature = 50};  // so that another number draws another token
  constexpr uint64_t kSteps = 3, kDrawn = 11 + 3;
  for (uint64_t sample_index = 0; sample_index < 5; ++sample_index) {
    Ids expected;
    for (uint64_t place = 0; place < 11; ++place) {
      const RandomStream numbers(1, "decode.unmask", sample_index, place);
      uint64_t step = 0;
      while (numbers.uniform(step) * static_cast<double>(kSteps - step) >= 1) ++step;
      expected.push_back(sample(row, flat, sample_index, step * kDrawn + place));
    }
    CHECK(joined(blocks(*model, {}, 11, {.steps = kSteps}, flat, {}, static_cast<int64_t>(sample_index))) == expected);
  }
}

TEST_CASE(
    "denoise: a text from noise has the distribution of a model that predicts one always, at any number of steps") {
  for (const char* yaml : {"{type: uniform_diffusion}", "{type: uniform_diffusion, p_uniform: 0.3}"}) {
    CAPTURE(yaml);
    const auto model = build_model_for(*read_objective(yaml), kMixing, kVocab);
    for (const Parameter* p : model->params().sorted())
      if (p->name.starts_with("embedding"))
        for (int64_t r = 0; r < p->shape.rows(); ++r)
          for (int64_t c = 0; c < 8; ++c) put(p->value, r, c, c % 3 - 0.7);
    const Ids any = {0};
    const Tensor logits = model->logits(Tensor::view_of(std::span(any), {1, 1}), {});
    for (const int64_t steps : {1, 4, 20}) {
      std::vector<double> count(kVocab);
      for (int64_t sample = 0; sample < 40; ++sample)
        for (const int32_t id : joined(blocks(*model, {3, 1}, 50, {.steps = steps}, {}, {}, sample)))
          ++count.at(static_cast<size_t>(id));
      for (int32_t q = 0; q < kVocab; ++q) {
        const double p = std::exp(-nats_by(logits, ids_of({q}, 1))[0]);
        CHECK(std::abs(count[static_cast<size_t>(q)] / 2000 - p) < 4 * std::sqrt(p * (1 - p) / 2000));
      }
    }
    CHECK(joined(blocks(*model, {3}, 7, {})) != joined(blocks(*model, {3}, 7, {}, {.seed = 2})));
    CHECK_THROWS_WITH_AS(check(DenoiseOptions{.confident = true}, model->config()),
                         doctest::Contains("from random tokens"), ConfigError);
  }
}

TEST_CASE("denoise: generate() writes such texts, with stop strings, and tells options that are not for the model") {
  const auto model = masked_model();
  const auto tokenizer = build_tokenizer("char", "abcde");
  const auto write = [&](const GenerateOptions& o, const char* prompt = "db") {
    return generate(*model, *tokenizer, prompt, o);
  };
  const GenerateOptions plain = {.tokens = 20, .samples = 2};
  const auto texts = write(plain);
  CHECK(texts[0].size() == 20);
  CHECK(texts[0] != texts[1]);
  CHECK(texts[0] == tokenizer->decode(joined(blocks(*model, {3, 1}, 20, {}))));
  CHECK(write({.tokens = 7}, "")[0] == tokenizer->decode(joined(blocks(*model, {}, 7, {}))));
  const std::string stop = texts[0].substr(9, 3);
  CHECK(write({.tokens = 20, .stop = {stop}})[0] == texts[0].substr(0, texts[0].find(stop)));
  CHECK(write({.tokens = 20, .sampler = {.top_k = 1}})[0] == write({.tokens = 20, .sampler = {.temperature = 0}})[0]);
  CHECK_THROWS_AS(write({.denoise = {.steps = 0}}), ConfigError);
  CHECK_THROWS_AS(write({.denoise = {.block = 0}}), ConfigError);
  const auto causal = build_model("{d_model: 8, layers: [{mixer: min_gru}]}", kVocab);
  for (const DenoiseOptions& o : {DenoiseOptions{.steps = 3}, {.block = 3}, {.confident = true}})
    CHECK_THROWS_WITH_AS(generate(*causal, *tokenizer, "a", {.tokens = 2, .denoise = o}),
                         doctest::Contains("for models that predict masked tokens"), ConfigError);
}

TEST_CASE("denoise: a model sees as many tokens as in training, or as asked, all at once") {
  const auto limit = [](std::string_view yaml, std::optional<int64_t> asked = {}) {
    return context_limit(*masked_model(yaml), 32, asked);
  };
  const ContextLimit usual = limit(kSharp);
  CHECK(usual.tokens == 32);
  CHECK_FALSE(usual.takes_effect(12, 20));
  CHECK(usual.takes_effect(12, 21));
  CHECK(limit(kSharp, 5).tokens == 5);
  CHECK(limit(kSharp, 0).tokens == 0);
  CHECK(limit("{d_model: 8, layers: [{mixer: {type: bidirectional, of: min_gru}}]}").tokens == 0);
  CHECK(limit("{d_model: 8, layers: [{mixer: {type: bidirectional, of: min_gru}}]}", 5).tokens == 5);
}
