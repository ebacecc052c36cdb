#include "mixers/built_mixer.h"

using namespace effllm;
using namespace effllm::test;

TEST_CASE("delta_net: parameters and how they start") {
  const BuiltMixer m("delta_net", "{}", 64);
  CHECK(m.store.count() == 3 * 64 * 64 + 4 * 3 * 64 + 4 * 64 + 16 + 64 * 64);  // qkv, conv, beta, norm, out
  CHECK(m.store.find("qkv.weight")->shape == Shape{192, 64});
  CHECK(m.store.find("conv.weight")->shape == Shape{4, 192});
  CHECK(m.store.find("conv.bias") == nullptr);
  CHECK(m.store.find("beta.weight")->shape == Shape{4, 64});
  for (const char* name : {"qkv.weight", "conv.weight", "beta.weight", "out.weight"}) {
    CAPTURE(name);
    m.check_deviation(name, 0.02, 0.1);
    CHECK(m.most(name) > 0.04);  // normal, not uniform of that spread: +- 0.035
  }
  for (int64_t i = 0; i < 16; ++i) CHECK(at(m.store.find("norm.weight")->value, 0, i) == 1);
  CHECK_FALSE(m.store.find("norm.weight")->traits.decay);
  CHECK(m.store.find("qkv.weight")->traits.decay);
  CHECK(m.store.find("out.weight")->traits.role == Role::residual);
}

TEST_CASE("delta_net: a state of fixed size, its FLOPs in closed form") {
  const BuiltMixer m("delta_net", "{heads: 2, expand_k: 0.5, expand_v: 2}", 64);
  for (int64_t tokens : {1, 1000}) CHECK(m.bytes(tokens) == 4 * (2 * 16 * 64 + 3 * 192));
  Meter meter;
  const MetaMode meta;
  m.forward(Tensor::empty({2, 10, 64}, DType::f64));
  const double d = 64, k = 32, v = 128, qkv = 2 * k + v, heads = 2;
  const double products = 2 * d * (qkv + heads + v), conv = (2 * 4 + 8) * qkv;
  const double rest = 4 * 2 * k + k + 8 * heads + 4 * v;  // l2 norm, scaled q, sigmoid, norm
  CHECK(meter.total.forward_flops == 20 * (products + conv + rest + 6 * heads * 16 * 64));
}

TEST_CASE("delta_net, gated_delta: the filter of the values starts at nothing and remembers taps - 1 values") {
  struct Case {
    const char* name;
    int64_t state;
  };
  for (const auto& [name, state] :
       {Case{"delta_net", 4 * 16 * 16 + 3 * 192 + 4 * 64}, {"gated_delta", 4 * 12 * 24 + 3 * 192 + 4 * 96}}) {
    CAPTURE(name);
    const BuiltMixer m(name, "{augment: dwconv, augment_taps: 5}", 64), plain(name, "{}", 64);
    CHECK(m["augment.weight"].shape == Shape{4, 5});
    CHECK(m.all("augment.weight", 0));
    CHECK(plain.store.find("augment.weight") == nullptr);
    CHECK(m.bytes(1000) == 4 * state);
    const Tensor x = random({1, 9, 64}, 2);
    CHECK(max_diff(m.forward(x), plain.forward(x)) < 1e-14);
  }
}
