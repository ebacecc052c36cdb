#include "cores/attention/reference_groups.h"
#include "cores/conv/shared_filter.h"
#include "mixers/built_mixer.h"

using namespace effllm;
using namespace effllm::test;

namespace {

// Adds 1 to token t of every sequence.
Tensor disturbed(const Tensor& x, int64_t t) {
  Tensor y = x.clone();
  for (int64_t b = 0; b < x.dim(0); ++b)
    for (int64_t c = 0; c < x.cols(); ++c) put(y, b * x.dim(1) + t, c, at(x, b * x.dim(1) + t, c) + 1);
  return y;
}

}  // namespace

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

TEST_CASE("linearized_attention: a filter or a group's sum that reach ahead leak, the mixer's do not") {
  constexpr int64_t kT = 13, kGroup = 4, kTaps = 3;
  const BuiltMixer m("{type: linearized_attention, query_key_dim: 6, group: 4, taps: 3}", 8);
  const auto mixer = [&](const Tensor& in) { return m.forward(in); };
  const Tensor x = random({1, kT, 8}, 1);
  const auto past_changes = [](const auto& f, const Tensor& in, int64_t t) {
    return max_diff(tokens(f(disturbed(in, t)), 0, t), tokens(f(in), 0, t));
  };
  for (int64_t t : {kGroup - 1, kGroup, kGroup + 1, kT - 1}) CHECK(past_changes(mixer, x, t) == 0);

  // The symmetric filter of 2 taps - 1 that the causal one is half of.
  const Tensor v = random({1, kT, 8}, 2), half = random({1, kTaps}, 3);
  const auto symmetric = [&](const Tensor& in) {
    Tensor y = shared_filter(in, half).y.clone();
    for (int64_t t = 0; t < kT; ++t)
      for (int64_t ahead = 1; ahead < kTaps && t + ahead < kT; ++ahead)
        for (int64_t c = 0; c < 8; ++c)
          put(y, t, c, at(y, t, c) + at(half, 0, kTaps - 1 - ahead) * at(in, t + ahead, c));
    return y;
  };
  const auto causal = [&](const Tensor& in) { return shared_filter(in, half).y; };
  // A sum over groups that holds the token's own.
  const Tensor q = random({1, kT, 6}, 4), k = random({1, kT, 6}, 5);
  const auto inclusive = [&](const Tensor& in) { return reference_group_memory(q, k, in, kGroup, true); };
  const auto exclusive = [&](const Tensor& in) { return group_memory(q, k, in, 1, kGroup).o; };
  for (int64_t t : {kGroup - 1, kGroup + 1, kT - 2}) {
    CHECK(past_changes(symmetric, v, t) > 1e-3);
    CHECK(past_changes(causal, v, t) == 0);
    CHECK(past_changes(inclusive, v, t) > (t == kT - 2 ? -1 : 1e-3));
    CHECK(past_changes(exclusive, v, t) == 0);
  }
}
