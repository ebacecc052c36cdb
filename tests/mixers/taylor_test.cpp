#include "mixers/built_mixer.h"

using namespace effllm;
using namespace effllm::test;

TEST_CASE("taylor: starts as in its authors' code, N(0, 0.02), the output's spread falling with depth") {
  for (int64_t layers : {1, 3, 12}) {
    const BuiltMixer m("taylor", "{}", 64, 0, layers);
    m.check_deviation("qkv.weight", 0.02, 0.05);
    CHECK(m.most("qkv.weight") > 0.05);  // normal, not uniform of that spread: +- 0.035
    m.check_deviation("out.weight", 0.02 / std::sqrt(2.0 * static_cast<double>(layers)), 0.05);
  }
}

TEST_CASE("taylor: parameters, state and work in closed form") {
  constexpr int64_t D = 8, H = 2, f = 3, F = 1 + f + f * (f + 1) / 2;
  const BuiltMixer m("taylor", "{heads: 2, feature_dim: 3}", D);
  CHECK(m.store.count() == D * (2 * H * f + D) + D * D);
  CHECK(m.undecayed().empty());
  for (int64_t tokens : {1, 100, 100000}) CHECK(m.bytes(tokens) == 4 * (F * D + H * F));
  constexpr int64_t token = 2 * D * (2 * H * f + D) + 2 * H * F + 4 * F * D + 3 * H * F + D + 2 * D * D;
  CHECK(m.forward_flops(2, 6, D) == 12.0 * token);
  CHECK_THROWS_AS(BuiltMixer("taylor", "{heads: 3}", D), ConfigError);
}
