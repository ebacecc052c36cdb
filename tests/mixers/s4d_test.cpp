#include <numbers>
#include <set>

#include "mixers/built_mixer.h"
#include "support/close.h"

using namespace effllm;
using namespace effllm::test;

TEST_CASE("s4d: starts as S4D-Lin, its step sizes and transitions learn slowly and don't decay") {
  const BuiltMixer m("{type: s4d}", 60);
  CHECK(m["c"].shape == Shape{60, 64});
  for (int64_t k = 0; k < 60; ++k)
    for (int64_t n = 0; n < 32; ++n) {
      CHECK(close(std::exp(at(m["log_a_real"].value, k, n)), 0.5, 1e-15));
      CHECK(close(at(m["a_imag"].value, k, n), std::numbers::pi * static_cast<double>(n), 1e-15));
    }
  const auto [least, most] = m.range("log_dt", [](double t) { return std::exp(t); });
  CHECK(least > 1e-3 - 1e-9);
  CHECK(least < 1.5e-3);
  CHECK(most < 0.1 + 1e-9);
  CHECK(most > 0.07);
  m.check_deviation("c", std::sqrt(0.5), 0.05);
  m.check_deviation("d", 1, 0.25);
  for (const char* name : {"out.weight", "out.bias"}) m.check_uniform(name, 1 / std::sqrt(60.0));
  std::set<std::string> slow;
  for (const Parameter* p : m.store.sorted())
    if (p->traits.lr_scale == 0.1) slow.insert(p->name);
  CHECK(m.undecayed() == std::vector<std::string>{"a_imag", "log_a_real", "log_dt", "out.bias"});
  CHECK(slow == std::set<std::string>{"a_imag", "log_a_real", "log_dt"});
}

TEST_CASE("s4d: parameters, state and cost in closed form") {
  const int64_t d = 12, n = 6, batch = 3;
  const BuiltMixer m("{type: s4d, state: 6}", d);
  CHECK(m.store.count() == d + d * n + 2 * d * n / 2 + d + 2 * d * d + 2 * d);
  for (int64_t length : {1, 100, 10000}) CHECK(m.bytes(length) == 4 * d * n);
  const auto flops = [&](int64_t tokens, State* state) {
    Meter meter;
    Context cx;
    cx.state = state;
    m.mixer->forward(random({batch, tokens, d}, 1), cx);
    CHECK(meter.total.dense_flops == static_cast<double>(batch * tokens * 4 * d * d));
    return meter.total.forward_flops;
  };
  const double modes = 60 * d * n / 2;
  const auto output = [&](double tokens) {  // gelu, W and b, sigmoid, the product
    return batch * tokens * static_cast<double>(8 * d + 4 * d * d + 2 * d + 8 * d + d);
  };
  const auto kernel = [&](double tokens) { return 2 * d * n * tokens; };
  CHECK(flops(10, nullptr) == modes + kernel(10) + batch * d * 10 * 11 + output(10));
  // Two pairs of sequences and the kernel, transforms of 256 points.
  const double one = 5 * 256 * 8 * d;
  CHECK(flops(100, nullptr) == modes + kernel(100) + one * 5 + 6 * 256 * 2 * d + output(100));
  State state = m.mixer->make_state(batch, 100, DType::f64);
  CHECK(flops(100, &state) == modes + batch * 100 * d * (5.5 * n + 2) + output(100));
}

TEST_CASE("s4d: Fourier transforms and recurrence agree over a thousand tokens") {
  const BuiltMixer m("{type: s4d}", 16);
  const Tensor x = random({2, 1000, 16}, 1), whole = m.forward(x);
  State s = m.mixer->make_state(2, 1000, DType::f64);
  CHECK(max_diff(m.forward(x, s), whole) < 1e-11);
}
