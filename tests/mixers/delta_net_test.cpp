#include <doctest/doctest.h>

#include <cmath>

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
    CHECK(m.deviation(name) == doctest::Approx(0.02).epsilon(0.1));
    CHECK(m.most(name) > 0.04);  // normal, not uniform of that spread: +- 0.035
  }
  for (int64_t i = 0; i < 16; ++i) CHECK(at(m.store.find("norm.weight")->value, 0, i) == 1);
  CHECK_FALSE(m.store.find("norm.weight")->traits.decay);
  CHECK(m.store.find("qkv.weight")->traits.decay);
  CHECK(m.store.find("out.weight")->traits.role == Role::residual);
}

TEST_CASE("delta_net: a state of fixed size, its FLOPs in closed form") {
  const BuiltMixer m("delta_net", "{heads: 2, expand_k: 0.5, expand_v: 2}", 64);
  for (int64_t tokens : {1, 1000}) CHECK(site_of(*m.mixer)->bytes(tokens, DType::f32) == 4 * (2 * 16 * 64 + 3 * 192));
  Meter meter;
  const MetaMode meta;
  m.mixer->forward(Tensor::empty({2, 10, 64}, DType::f64), {});
  const double d = 64, k = 32, v = 128, qkv = 2 * k + v, heads = 2;
  const double products = 2 * d * (qkv + heads + v), conv = (2 * 4 + 8) * qkv;
  const double rest = 4 * 2 * k + k + 8 * heads + 4 * v;  // l2 norm, scaled q, sigmoid, norm
  CHECK(meter.total.forward_flops == 20 * (products + conv + rest + 6 * heads * 16 * 64));
}

TEST_CASE("delta_net: what is written under a key is read back, and a second value replaces the first") {
  const BuiltMixer m("delta_net", "{heads: 1, conv: 0}", 8);
  // A token that writes with beta near 1; the same token again finds its value there already and changes nothing.
  const Tensor& beta = m.store.find("beta.weight")->value;
  for (int64_t c = 0; c < 8; ++c) put(beta, 0, c, 50);
  Tensor x = Tensor::full({1, 2, 8}, DType::f64, 0);
  for (int64_t r = 0; r < 2; ++r)
    for (int64_t c = 0; c < 8; ++c) put(x, r, c, 10 + 30 * static_cast<double>(c));
  State one = m.mixer->make_state(1, 2, DType::f64), two = one;
  Context cx;
  cx.state = &one;
  m.mixer->forward(tokens(x, 0, 1), cx);
  cx.state = &two;
  m.mixer->forward(x, cx);
  CHECK(max_abs(one.field(one.root(), "s")) > 1e-3);
  // l2_norm's eps keeps keys a hair under length one.
  CHECK(max_diff(one.field(one.root(), "s"), two.field(two.root(), "s")) < 1e-4 * max_abs(one.field(one.root(), "s")));
}

TEST_CASE("delta_net: negative eigenvalues double beta, heads must divide the widths") {
  const Tensor x = random({1, 1, 8}, 2);
  const BuiltMixer plain("delta_net", "{heads: 2}", 8), twice("delta_net", "{heads: 2, negative_eigenvalues: true}", 8);
  State a = plain.mixer->make_state(1, 1, DType::f64), b = a;
  Context ca, cb;
  ca.state = &a;
  cb.state = &b;
  plain.mixer->forward(x, ca);
  twice.mixer->forward(x, cb);
  for (int64_t r = 0; r < 8; ++r)
    for (int64_t c = 0; c < 4; ++c)
      CHECK(at(b.field(b.root(), "s"), r, c) == doctest::Approx(2 * at(a.field(a.root(), "s"), r, c)));
  CHECK_THROWS_WITH_AS(BuiltMixer("delta_net", "{heads: 4}", 10), doctest::Contains("4 heads don't divide"),
                       ConfigError);
}

TEST_CASE("delta_net: the filter of the values starts at nothing and remembers taps - 1 values") {
  const BuiltMixer m("delta_net", "{augment: dwconv, augment_taps: 5}", 64), plain("delta_net", "{}", 64);
  const Parameter* w = m.store.find("augment.weight");
  REQUIRE(w);
  CHECK(w->shape == Shape{4, 5});
  CHECK(max_abs(w->value) == 0);
  CHECK(plain.store.find("augment.weight") == nullptr);
  CHECK(site_of(*m.mixer)->bytes(1000, DType::f32) == 4 * (4 * 16 * 16 + 3 * 192 + 4 * 64));
  const Tensor x = random({1, 9, 64}, 2);
  CHECK(max_diff(m.mixer->forward(x, {}), plain.mixer->forward(x, {})) < 1e-14);
}
