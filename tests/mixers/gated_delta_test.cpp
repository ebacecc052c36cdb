#include <doctest/doctest.h>

#include <cmath>

#include "mixers/built_mixer.h"

using namespace effllm;
using namespace effllm::test;

TEST_CASE("gated_delta: parameters and how they start") {
  const BuiltMixer m("gated_delta", "{}", 64);
  // qkvg, conv, gates, a_log, dt_bias, norm, out
  CHECK(m.store.count() == (48 + 48 + 96 + 96) * 64 + 4 * 192 + 8 * 64 + 4 + 4 + 24 + 64 * 96);
  CHECK(m.store.find("qkvg.weight")->shape == Shape{288, 64});
  CHECK(m.store.find("gates.weight")->shape == Shape{8, 64});
  CHECK(m.store.find("gates.bias") == nullptr);
  CHECK(m.store.find("norm.weight")->shape == Shape{24});
  const auto within = [&](const char* name, double fan_in) {  // PyTorch's start, at any depth
    CHECK(max_abs(m[name].value) <= 1 / std::sqrt(fan_in));
    CHECK(max_abs(m[name].value) > 0.98 / std::sqrt(fan_in));
  };
  within("qkvg.weight", 64);
  within("gates.weight", 64);
  within("conv.weight", 4);
  within("out.weight", 96);
  CHECK(m.store.find("out.weight")->traits.role == Role::residual);
  for (const char* name : {"a_log", "dt_bias", "norm.weight"}) CHECK_FALSE(m.store.find(name)->traits.decay);
  CHECK(m.store.find("gates.weight")->traits.decay);
  for (const Parameter* p : m.store.sorted()) CHECK(p->traits.lr_scale == 1);
}

TEST_CASE("gated_delta: exp(a_log) is uniform in (0, 16), softplus(dt_bias) log-uniform in [0.001, 0.1]") {
  const BuiltMixer m("gated_delta", "{heads: 256, expand_k: 1, expand_v: 1}", 256);
  double mean_a = 0, mean_log_dt = 0, smallest = 1, largest = 0;
  for (int64_t h = 0; h < 256; ++h) {
    const double a = std::exp(at(m.store.find("a_log")->value, 0, h)),
                 dt = std::log1p(std::exp(at(m.store.find("dt_bias")->value, 0, h)));
    CHECK(a > 0);
    CHECK(a < 16);
    CHECK(dt > 0.00099);
    CHECK(dt < 0.1001);
    smallest = std::min(smallest, dt);
    largest = std::max(largest, dt);
    mean_a += a / 256;
    mean_log_dt += std::log(dt) / 256;
  }
  CHECK(mean_a == doctest::Approx(8).epsilon(0.15));
  CHECK(mean_log_dt == doctest::Approx(std::log(0.01)).epsilon(0.05));
  CHECK(smallest < 0.0015);
  CHECK(largest > 0.07);
}

TEST_CASE("gated_delta: a state of fixed size, its FLOPs in closed form") {
  const BuiltMixer m("gated_delta", "{}", 64);
  for (int64_t tokens : {1, 1000}) CHECK(site_of(*m.mixer)->bytes(tokens, DType::f32) == 4 * (4 * 12 * 24 + 3 * 192));
  Meter meter;
  const MetaMode meta;
  m.mixer->forward(Tensor::empty({2, 10, 64}, DType::f64), {});
  const double d = 64, k = 48, v = 96, qkv = 2 * k + v, heads = 4;
  const double products = 2 * d * (qkv + v + 2 * heads + v), conv = (2 * 4 + 8) * qkv;
  const double gates = (8 + 1 + 8 + 1) * heads;           // beta; dt with its bias; times -exp(a_log)
  const double rest = 4 * 2 * k + k + 4 * v + 8 * v + v;  // l2 norm, scaled q, norm, gate
  const double once = (8 + 1) * heads;                    // -exp(a_log)
  CHECK(meter.total.forward_flops == 20 * (products + conv + gates + rest + 6 * heads * 12 * 24) + once);
}

TEST_CASE("gated_delta: decays of one and no decay at all are two ends of the same layer") {
  const BuiltMixer m("gated_delta", "{heads: 2, conv: 0}", 8);
  const Tensor& a_log = m.store.find("a_log")->value;
  const Tensor x = random({1, 6, 8}, 2), last = tokens(x, 5, 6);
  const auto run = [&](double log_a, const Tensor& in) {
    for (int64_t h = 0; h < 2; ++h) put(a_log, 0, h, log_a);
    return m.mixer->forward(in, {}).clone();
  };
  // With a = 0 a token sees itself alone.
  CHECK(max_diff(tokens(run(20, x), 5, 6), run(20, last)) < 1e-12);
  CHECK(max_diff(tokens(run(-50, x), 5, 6), run(-50, last)) > 1e-3);
  CHECK_THROWS_WITH_AS(BuiltMixer("gated_delta", "{heads: 4}", 10), doctest::Contains("4 heads don't divide"),
                       ConfigError);
}

TEST_CASE("gated_delta: the filter of the values starts at nothing and remembers taps - 1 values") {
  const BuiltMixer m("gated_delta", "{augment: dwconv, augment_taps: 5}", 64), plain("gated_delta", "{}", 64);
  const Parameter* w = m.store.find("augment.weight");
  REQUIRE(w);
  CHECK(w->shape == Shape{4, 5});
  CHECK(max_abs(w->value) == 0);
  CHECK(plain.store.find("augment.weight") == nullptr);
  CHECK(site_of(*m.mixer)->bytes(1000, DType::f32) == 4 * (4 * 12 * 24 + 3 * 192 + 4 * 96));
  const Tensor x = random({1, 9, 64}, 2);
  CHECK(max_diff(m.mixer->forward(x, {}), plain.mixer->forward(x, {})) < 1e-14);
}
