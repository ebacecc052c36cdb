#include "mixers/built_mixer.h"
#include "support/close.h"

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
    m.check_uniform(name, 1 / std::sqrt(fan_in), 0.98);
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
  const auto softplus = [](double x) { return std::log1p(std::exp(x)); };
  double mean_a = 0, mean_log_dt = 0;
  for (int64_t h = 0; h < 256; ++h) {
    mean_a += std::exp(at(m["a_log"].value, 0, h)) / 256;
    mean_log_dt += std::log(softplus(at(m["dt_bias"].value, 0, h))) / 256;
  }
  const auto [least_a, largest_a] = m.range("a_log", [](double x) { return std::exp(x); });
  const auto [smallest, largest] = m.range("dt_bias", softplus);
  CHECK(least_a > 0);
  CHECK(largest_a < 16);
  CHECK(smallest > 0.00099);
  CHECK(largest < 0.1001);
  CHECK(close(mean_a, 8, 0.15));
  CHECK(close(mean_log_dt, std::log(0.01), 0.05));
  CHECK(smallest < 0.0015);
  CHECK(largest > 0.07);
}

TEST_CASE("gated_delta: a state of fixed size, its FLOPs in closed form") {
  const BuiltMixer m("gated_delta", "{}", 64);
  for (int64_t tokens : {1, 1000}) CHECK(m.bytes(tokens) == 4 * (4 * 12 * 24 + 3 * 192));
  Meter meter;
  const MetaMode meta;
  m.forward(Tensor::empty({2, 10, 64}, DType::f64));
  const double d = 64, k = 48, v = 96, qkv = 2 * k + v, heads = 4;
  const double products = 2 * d * (qkv + v + 2 * heads + v), conv = (2 * 4 + 8) * qkv;
  const double gates = (8 + 1 + 8 + 1) * heads;           // beta; dt with its bias; times -exp(a_log)
  const double rest = 4 * 2 * k + k + 4 * v + 8 * v + v;  // l2 norm, scaled q, norm, gate
  const double once = (8 + 1) * heads;                    // -exp(a_log)
  CHECK(meter.total.forward_flops == 20 * (products + conv + gates + rest + 6 * heads * 12 * 24) + once);
}
