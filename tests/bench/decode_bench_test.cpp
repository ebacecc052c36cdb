#include "bench/decode_bench.h"

#include <doctest/doctest.h>

#include "mixers/mixer.h"
#include "support/models.h"
#include "support/named.h"
#include "support/tensors.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr int64_t kVocab = 32;

std::unique_ptr<LanguageModel> of(const std::string& mixer, const Objective& o = next_token()) {
  return build_model_for(o, "{d_model: 16, layers: [{mixer: " + mixer + ", ffn: mlp}]}", kVocab, 64, DType::f32);
}

// The text that the bench reads and goes on with.
Tensor text(int64_t tokens) {
  const Tensor ids = Tensor::dense({1, tokens}, DType::i32);
  for (int64_t i = 0, t = 0; i < tokens; ++i, t = (3 * t + 7) % kVocab)
    ids.data<int32_t>()[i] = static_cast<int32_t>(t);
  return ids;
}

}  // namespace

TEST_CASE("bench decode: a step predicts what the whole text does, and each start goes back to the depth") {
  for (const char* mixer : {"{type: attention, heads: 2}", "min_gru", "{type: gla, heads: 2}"}) {
    CAPTURE(mixer);
    const auto model = of(mixer);
    for (const int64_t depth : {0, 5, 300}) {
      CAPTURE(depth);
      const Tensor whole = model->logits(text(depth + 4), {});
      DecodeBench bench(*model, depth, 3);
      for (int turn = 0; turn < 3; ++turn) {
        bench.start();  // decodes the token of the depth
        for (int64_t t = 1; t <= 3; ++t) {
          const Tensor y = bench.step();
          for (int64_t q = 0; q < kVocab; ++q)
            CHECK(at(y, 0, q) == doctest::Approx(at(whole, depth + t, q)).epsilon(1e-4));
        }
      }
    }
  }
}

TEST_CASE("bench decode: the state is that of the depth, the same at any depth where nothing grows") {
  for (const int64_t depth : {0, 1, 64, 300}) {
    const auto state = [&](const std::string& mixer) { return DecodeBench(*of(mixer), depth, 7).state(); };
    CHECK(state("min_gru").all == 16 * 4);
    CHECK(state("min_gru").rows == 0);
    CHECK(state("{type: attention, heads: 2}").all == depth * 2 * 16 * 4);
    CHECK(state("{type: attention, heads: 2}").rows == depth * 2 * 16 * 4);
    CHECK(state("{type: attention, heads: 2, window: 9}").all == std::min<int64_t>(depth, 8) * 2 * 16 * 4);
  }
}

TEST_CASE("bench decode: every mixer that writes token by token is timed, also after a prefix") {
  for (const LayerInfo* info : all_mixers) {
    if (!info->causal_form) continue;
    CAPTURE(info->name);
    ConfigNode options = parse_config(info->needs, "needs");
    options.set("type", info->name);
    const auto timings = [&] {
      ConfigNode root = parse_config("{d_model: 64, layers: [{}]}", "test");
      root.find("layers")->items()[0].set("mixer", options);
      LanguageModel model(read_model_config(root, 64), kVocab);
      model.params().materialize(1, DType::f32);
      return time_decoding(model, 20, 2, 3);
    }();
    CHECK(timings.seconds.median > 0);
    CHECK(timings.seconds.p10 <= timings.seconds.p90);
    CHECK(timings.state.all > 0);
  }
  const auto prefix = Choice(all_objectives, "prefix_lm").build();
  CHECK(time_decoding(*of("{type: attention, heads: 2}", *prefix), 20, 2, 1).state.all == 20 * 2 * 16 * 4);
}

TEST_CASE("bench decode: what does not write one token after the other, or not so many, is refused") {
  const auto masked = Choice(all_objectives, "masked_diffusion").build();
  CHECK_THROWS_WITH_AS(DecodeBench(*of("{type: attention, heads: 2}", *masked), 0, 1),
                       doctest::Contains("one token after the other"), ConfigError);
  const auto learned = build_model_for(
      next_token(), "{d_model: 16, positions: learned, layers: [{mixer: {type: attention, heads: 2}}]}", kVocab, 16);
  CHECK_NOTHROW(time_decoding(*learned, 10, 5, 2));
  CHECK_THROWS_WITH_AS(DecodeBench(*learned, 11, 5), doctest::Contains("learned positions"), ConfigError);
}
