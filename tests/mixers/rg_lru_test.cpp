#include "mixers/built_mixer.h"

using namespace effllm;
using namespace effllm::test;

TEST_CASE("rg_lru: init is that of recurrentgemma, parameters, state and cost are those of the formulas") {
  constexpr int64_t kD = 64, kW = 128, kT = 10, kBlock = 32;
  constexpr int64_t kLayers = 6;
  const BuiltMixer m("rg_lru", "{expand: 2}", kD, 1, kLayers);
  const auto near = [&](const char* name, double variance) {
    m.check_deviation(name, std::sqrt(variance), 0.1);
    CHECK(m[name].traits.decay);
  };
  near("in.weight", 1.0 / kD);
  near("out.weight", 2.0 / (kLayers * kW));
  near("conv.weight", 0.01 / 4);
  near("input_gate.weight", 1.0 / kBlock);
  near("recurrence_gate.weight", 1.0 / kBlock);
  for (const char* name : {"in.bias", "out.bias", "conv.bias", "input_gate.bias", "recurrence_gate.bias"})
    m.check_free(name, 0);
  CHECK_FALSE(m["lambda"].traits.decay);
  const auto [least, most] = m.range("lambda", [](double x) { return 1 / (1 + std::exp(x)); });  // exp(-softplus)
  CHECK(least >= 0.9);
  CHECK(least < 0.91);
  CHECK(most <= 0.999);
  CHECK(most > 0.99);
  CHECK(m.store.count() == 2 * kW * kD + 2 * kW + 4 * kW + kW + 2 * (kW * kBlock + kW) + kW + kD * kW + kD);
  for (int64_t n : {0, 1, 100}) CHECK(m.bytes(n) == 4 * (kW + 3 * kW));
  CHECK(m.forward_cost(random({1, kT, kD}, 1)).dense_flops == 2 * kT * (2 * kW * kD + 2 * kW * kBlock + kD * kW));
}

TEST_CASE("rg_lru: the first token of a document, with a state and without, comes in unscaled") {
  BuiltMixer m("{type: rg_lru, blocks: 2}", 8);
  m.shake(0.3);
  const Tensor x = random({2, 5, 8}, 1), whole = m.forward(x);
  const auto continued = [&](int64_t seen) {
    State s = m.mixer->make_state(2, 8, DType::f64);
    for (int64_t b = 0; b < 2; ++b) s.field(s.root(), "seen").data<int64_t>()[b] = seen;
    Context cx;
    cx.state = &s;
    return m.mixer->forward(x, cx);
  };
  CHECK(max_diff(continued(0), whole) < 1e-14);
  CHECK(max_diff(continued(3), whole) > 1e-4);  // zeros that were seen are not a beginning
}
