#include "mixers/built_mixer.h"

using namespace effllm;
using namespace effllm::test;

TEST_CASE("mamba2: steps, rates and direct paths start as published and do not decay") {
  const BuiltMixer m("mamba2", "{head_dim: 2}", 64);
  const auto [least_step, largest_step] = m.range("dt_bias", [](double b) { return std::log1p(std::exp(b)); });
  CHECK(least_step >= 1e-3 - 1e-12);
  CHECK(least_step < 2e-3);
  CHECK(largest_step <= 0.1 + 1e-12);
  CHECK(largest_step > 0.05);
  const auto [least_rate, largest_rate] = m.range("a_log", [](double a) { return std::exp(a); });
  CHECK(least_rate >= 1);
  CHECK(least_rate < 2);
  CHECK(largest_rate <= 16 + 1e-12);
  CHECK(largest_rate > 14);
  CHECK(m.all("d", 1));
  CHECK(m.all("norm.weight", 1));
  CHECK(m.undecayed() == std::vector<std::string>{"a_log", "conv.bias", "d", "dt_bias", "norm.weight"});
}

TEST_CASE("mamba2: parameters, state and work in closed form") {
  constexpr int64_t D = 8, I = 16, H = 4, P = 4, N = 5, G = 2, W = 3;
  const BuiltMixer m("mamba2", "{head_dim: 4, state: 5, groups: 2, conv: 3}", D);
  CHECK(m.store.count() == D * (2 * I + 2 * G * N + H) + (W + 1) * (I + 2 * G * N) + 3 * H + I + I * D);
  for (int64_t tokens : {1, 100, 100000}) CHECK(m.bytes(tokens) == 4 * (H * N * P + (W - 1) * (I + 2 * G * N)));
  const int64_t token = 2 * D * (2 * I + 2 * G * N + H) + H + 8 * H + H  // projections, dt and log decay
                        + (2 * W + 1 + 8) * (I + 2 * G * N)              // convolution, its bias and SiLU
                        + I + 4 * H * N * P + 11 * I                     // dt x, core, skip and gate
                        + 4 * I + I + 2 * I * D;                         // norm in groups, its weight, output
  CHECK(m.forward_flops(2, 6, D) == static_cast<double>(12 * token + 9 * H));
}
