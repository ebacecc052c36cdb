// Experts on means of tokens: what they are equal to, how they start, and that nothing causal may hold them.
#include <doctest/doctest.h>

#include "ffn/ffn.h"
#include "mixers/built_mixer.h"
#include "model/model_config.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr int64_t kWidth = 12;
BuiltMixer built(std::string_view options) { return {all_ffns.find("soft_moe"), options, kWidth}; }
Tensor both_ways(const BuiltMixer& m, const Tensor& x) {
  Context cx;
  cx.direction = Direction::bidirectional;
  return m.mixer->forward(x, cx);
}

}  // namespace

TEST_CASE("soft_moe: at scale 0 slots are the mean of all tokens, and tokens the mean of all experts") {
  const BuiltMixer m = built("{experts: 3, slots: 2, expand: 2}"), d(all_ffns.find("swiglu"), "{expand: 2}", kWidth);
  fill(m["slots.scale"].value, 0);
  const Tensor x = random({1, 5, kWidth}, 1), mean = Tensor::zeros({1, 1, kWidth}, DType::f64);
  for (int64_t t = 0; t < 5; ++t)
    for (int64_t c = 0; c < kWidth; ++c) put(mean, 0, c, at(mean, 0, c) + at(x, t, c) / 5);
  Tensor want = Tensor::zeros({1, 1, kWidth}, DType::f64);
  for (int64_t e = 0; e < 3; ++e) {
    copy(m["experts.gate_up.weight"].value.row_range(e * 48, {48, kWidth}), d["gate_up.weight"].value);
    copy(m["experts.down.weight"].value.row_range(e * kWidth, {kWidth, 24}), d["down.weight"].value);
    const Tensor y = d.forward(mean);
    for (int64_t c = 0; c < kWidth; ++c) put(want, 0, c, at(want, 0, c) + at(y, 0, c) / 3);
  }
  const Tensor y = both_ways(m, x);
  for (int64_t t = 0; t < 5; ++t) CHECK(max_diff(y.row_range(t, {1, 1, kWidth}), want) < 1e-14);
}

TEST_CASE("soft_moe: tokens in another order come out in that order, and the length of a token does not weigh it") {
  const BuiltMixer m = built("{}");
  fill(m["slots.scale"].value, 5);
  const Tensor x = random({1, 6, kWidth}, 1), turned = x.clone();
  for (int64_t t = 0; t < 6; ++t) copy(x.row_range(5 - t, {1, kWidth}), turned.row_range(t, {1, kWidth}));
  const Tensor y = both_ways(m, x), z = both_ways(m, turned);
  for (int64_t t = 0; t < 6; ++t) CHECK(max_diff(y.row_range(5 - t, {1, kWidth}), z.row_range(t, {1, kWidth})) < 1e-14);
}

TEST_CASE("soft_moe: how it starts and what it costs") {
  const BuiltMixer m = built("{experts: 4, slots: 2, expand: 2}");
  m.check_free("slots.scale", 1);
  m.check_deviation("slots.weight", 1 / std::sqrt(12.0), 0.2);
  m.check_deviation("experts.down.weight", 0.02, 0.1);
  Meter meter;
  both_ways(m, random({2, 5, kWidth}, 1));
  const double logits = 2 * 10 * 8 * kWidth, experts = 2 * 2 * 8 * (3 * 24 * kWidth);
  CHECK(meter.total.dense_flops == 3 * logits + experts);
}

TEST_CASE("soft_moe: nothing causal holds it") {
  CHECK_THROWS_WITH_AS(built("{}").forward(random({1, 3, kWidth}, 1)), doctest::Contains("no causal form"), ShapeError);
  Diagnostics found;
  const ModelConfig c =
      read_model_config(parse_config("{d_model: 8, layers: [{mixer: min_gru, ffn: soft_moe}]}", "m.yaml"), 16);
  require_direction(c, "next_token", found);
  CHECK_THROWS_WITH_AS(found.throw_if_any(), doctest::Contains("`soft_moe` lets a token see those after it"),
                       ConfigError);
}
