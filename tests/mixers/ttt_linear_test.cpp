#include "mixers/built_mixer.h"

using namespace effllm;
using namespace effllm::test;

TEST_CASE("ttt_linear: init is that of the authors' code, parameters, state and cost are those of the formulas") {
  constexpr int64_t kD = 64, kH = 4, kN = kD / kH, kM = 16, kConv = 4, kT = 24;
  for (bool gate : {true, false}) {
    const BuiltMixer m(gate ? "{type: ttt_linear}" : "{type: ttt_linear, gate: false}", kD);
    for (const char* name : {"qk.weight", "v.weight", "out.weight", "lr.weight", "w0", "gate.weight"}) {
      if (!gate && std::string_view(name) == "gate.weight") continue;
      m.check_deviation(name, 0.02, 0.1);
      CHECK(m[name].traits.decay);
    }
    for (const char* name : {"lr.bias", "ln.bias", "b0", "token_scale", "post_norm.bias"}) m.check_free(name, 0);
    for (const char* name : {"ln.weight", "post_norm.weight"}) m.check_free(name, 1);
    for (const char* name : {"conv_q.weight", "conv_k.weight", "conv_q.bias", "conv_k.bias"}) {
      CHECK(m.least(name) >= -0.5);
      CHECK(m.most(name) < 0.5);
      m.check_deviation(name, 0.5 / std::sqrt(3), 0.2);
    }
    CHECK(m.store.count() ==
          (gate ? 4 : 3) * kD * kD + 2 * (kConv + 1) * kD + kH * kD + kH + kM + 4 * kD + kD * kN + kD);
    for (int64_t n : {0, 1, 100}) CHECK(m.bytes(n) == 4 * (2 * (kD * kN + kD) + (kConv - 1) * kD));
    // A token of a head: three products by n x n, and (M + 1) / 2 scores with what they weigh.
    const double inner = 6 * kN + 2 * (kM + 1);
    CHECK(m.forward_cost(random({1, kT, kD}, 1)).dense_flops == kT * kD * (2 * ((gate ? 4 : 3) * kD + kH) + inner));
  }
}

TEST_CASE("ttt_linear: a token scale below -1/i switches the inner learning of place i off") {
  const Tensor x = random({1, 11, 8}, 1);
  const auto run = [&](double last, double rate) {
    BuiltMixer m("{type: ttt_linear, heads: 2, mini_batch: 4}", 8);
    m.shake(0.3);
    for (int64_t i = 0; i < 4; ++i) put(m["token_scale"].value, 0, i, i < 3 ? -2 : last);
    for (int64_t h = 0; h < 2; ++h) put(m["lr.bias"].value, 0, h, rate);
    return m.forward(x);
  };
  // Off everywhere: the learning rate has no effect. On at the last place: from there on it has.
  CHECK(max_diff(run(-0.3, 0), run(-0.3, 5)) == 0);
  const Tensor low = run(0.1, 0), high = run(0.1, 5);
  CHECK(max_diff(tokens(low, 0, 3), tokens(high, 0, 3)) == 0);
  CHECK(max_diff(tokens(low, 3, 4), tokens(high, 3, 4)) > 1e-4);
  CHECK(max_diff(tokens(low, 4, 5), tokens(high, 4, 5)) > 1e-4);
}

TEST_CASE("ttt_linear: a model learns from a document what it needs to repeat it") {
  // One head, no gate: after many mini-batches of the same pair the inner loss of that pair has fallen.
  BuiltMixer m("{type: ttt_linear, heads: 1, mini_batch: 2, gate: false}", 8);
  m.shake(0.3);
  Tensor x = random({1, 64, 8}, 4);
  for (int64_t t = 2; t < 64; ++t)
    for (int64_t c = 0; c < 8; ++c) put(x, t, c, at(x, t % 2, c));
  const Tensor y = m.forward(x);
  const auto change = [&](int64_t t) { return max_diff(tokens(y, t, t + 1), tokens(y, t + 2, t + 3)); };
  CHECK(change(60) < 0.05 * change(4));
}
