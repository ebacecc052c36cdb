#include "mixers/built_mixer.h"

using namespace effllm;
using namespace effllm::test;

TEST_CASE("linearized_attention: initial values") {
  const BuiltMixer m("{type: linearized_attention}", 64);
  CHECK(m["offset_scale.weight"].shape == Shape{4, 128});
  m.check_deviation("offset_scale.weight", 0.02, 0.1);
  CHECK(max_abs(m["offset_scale.bias"].value) == 0);
  CHECK(m["position_bias"].shape == Shape{32});
  m.check_deviation("position_bias", 1, 0.4);
  CHECK(m["conv.weight"].shape == Shape{1, 32});
  m.check_uniform("conv.weight", 1 / std::sqrt(63.0), 0.8);
  CHECK(m["hidden.weight"].shape == Shape{256, 64});
  for (const char* name : {"hidden.weight", "hidden.bias", "z.weight", "z.bias"}) m.check_uniform(name, 1.0 / 8);
  CHECK(max_abs(m["out.weight"].value) <= 1 / std::sqrt(128.0));
  for (const char* name :
       {"hidden.bias", "z.bias", "out.bias", "offset_scale.weight", "offset_scale.bias", "position_bias"})
    CHECK_FALSE(m.store.find(name)->traits.decay);
}

TEST_CASE("linearized_attention: parameters, state and products in closed form") {
  const int64_t d = 32, e = 64, s = 16, g = 8, taps = 5;
  const BuiltMixer m("{type: linearized_attention, query_key_dim: 16, group: 8, taps: 5}", d);
  CHECK(m.store.count() == 2 * e * d + 2 * e + s * d + s + 8 * s + 32 + taps + d * e + d);
  for (int64_t n : {1, 100, 100000})  // does not grow
    CHECK(m.bytes(n) == 4 * (s * e + std::min(g - 1, n) * (2 * s + e) + (taps - 1) * e + d / 2));
  for (int64_t n : {5, 8, 21}) {
    Meter meter;
    m.forward(random({3, n, d}, 1));
    const int64_t rest = n % g, pairs = n / g * (g * (g + 1) / 2) + rest * (rest + 1) / 2;
    const int64_t reads = n - std::min(n, g), writes = n / g * g;
    CHECK(meter.total.dense_flops ==
          static_cast<double>(3 * 2 * (n * (2 * e * d + s * d + e * d) + pairs * (s + e) + (reads + writes) * s * e)));
  }
}
