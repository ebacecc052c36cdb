#include "mixers/built_mixer.h"

using namespace effllm;
using namespace effllm::test;

TEST_CASE("retnet: starts as in torchscale, and nothing is free of decay") {
  const BuiltMixer m("retnet", "{heads: 2}", 64);
  const double qk = std::exp2(-2.5) * std::sqrt(6.0 / 128), vg = std::exp2(-2.5) * std::sqrt(6.0 / 192),
               out = 0.5 * std::sqrt(6.0 / 192);
  m.check_uniform("out.weight", out, 0.99);
  const Tensor& w = m["qkvg.weight"].value;
  double largest_qk = 0, largest_vg = 0;
  for (int64_t r = 0; r < w.rows(); ++r)
    for (int64_t c = 0; c < 64; ++c)
      (r < 128 ? largest_qk : largest_vg) = std::max(r < 128 ? largest_qk : largest_vg, std::abs(at(w, r, c)));
  CHECK(largest_qk <= qk);
  CHECK(largest_qk > 0.99 * qk);
  CHECK(largest_vg <= vg);
  CHECK(largest_vg > 0.99 * vg);
  CHECK(m.undecayed().empty());
}

TEST_CASE("retnet: parameters, state and work in closed form") {
  constexpr int64_t D = 8, V = 16, H = 2;
  const BuiltMixer m("retnet", "{heads: 2}", D);
  CHECK(m.store.count() == D * (2 * D + 2 * V) + D * V);
  for (int64_t tokens : {1, 100, 100000}) CHECK(m.bytes(tokens) == 4 * D * V / H);
  constexpr int64_t token = 2 * D * (2 * D + 2 * V) + 3 * 2 * D + D + 4 * D * V / H + 4 * V + 8 * V + V + 2 * D * V;
  CHECK(m.forward_flops(2, 6, D) == 12.0 * token);
  CHECK_THROWS_AS(BuiltMixer("retnet", "{heads: 8}", D), ConfigError);  // an odd number of rotated columns
}

TEST_CASE("retnet: where what is read is small the norm sees its eps, so rows are scaled before it") {
  const BuiltMixer scaled("retnet", "{heads: 1}", 64), unscaled("retnet", "{heads: 1, row_scale: false}", 64);
  const auto last = [](const BuiltMixer& m, int64_t n) { return tokens(m.forward(random({1, n, 64}, 1)), n - 1, n); };
  CHECK(max_diff(last(scaled, 1), last(unscaled, 1)) < 1e-14);  // the sum of the decays is 1
  CHECK(max_diff(last(scaled, 40), last(unscaled, 40)) > 0.003 * max_abs(last(scaled, 40)));
}
