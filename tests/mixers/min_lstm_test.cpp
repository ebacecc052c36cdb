#include "mixers/built_mixer.h"

using namespace effllm;
using namespace effllm::test;

TEST_CASE("min_lstm: starts like nn.Linear, parameters, state and cost are those of the formulas") {
  constexpr int64_t kD = 32, kW = 64, kT = 10;
  const BuiltMixer m("{type: min_lstm, expand: 2, conv: 4}", kD);
  for (const auto& [name, fan_in] : {std::pair{"in.weight", kD}, {"out.weight", kW}, {"conv.weight", int64_t{4}}}) {
    const double bound = 1 / std::sqrt(static_cast<double>(fan_in));
    CHECK(m.most(name) <= bound);
    CHECK(m.least(name) >= -bound);
    m.check_deviation(name, bound / std::sqrt(3.0), 0.1);
    CHECK(m[name].traits.lr_scale == 1);
  }
  CHECK(m.store.count() == 3 * kW * kD + 4 * kD + kD * kW);
  for (int64_t n : {0, 1, 100}) CHECK(m.bytes(n) == 4 * (kW + 3 * kD));
  CHECK(m.forward_cost(random({1, kT, kD}, 1)).dense_flops == 2 * kT * (3 * kW * kD + kD * kW));
  const BuiltMixer bare("{type: min_lstm}", kD);
  CHECK(bare.store.count() == 3 * kD * kD);  // as wide as the model: no matrix behind
}

TEST_CASE("min_lstm: h is an average of what came in, whatever the gates") {
  BuiltMixer m("{type: min_lstm, candidate: linear}", 8);
  m.shake(3);
  Tensor x = random({1, 40, 8}, 2);
  for (int64_t t = 0; t < 40; ++t)
    for (int64_t c = 0; c < 8; ++c)
      for (int64_t k = 0; k < 8; ++k) put(m["in.weight"].value, 16 + c, k, c == k ? 1 : 0);
  const Tensor y = m.forward(x);
  CHECK(max_abs(y) <= max_abs(x));
}
