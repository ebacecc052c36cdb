#include <doctest/doctest.h>

#include <cmath>

#include "mixers/built_mixer.h"
#include "mixers/mixer.h"

using namespace effllm;
using namespace effllm::test;

TEST_CASE("linear_attention: parameters, state and work in closed form") {
  constexpr int64_t D = 8, H = 2, n = 4;
  const BuiltMixer sum("linear_attention", "{heads: 2}", D),
      norm("linear_attention", "{heads: 2, normalize: false}", D);
  CHECK(sum.store.count() == 4 * D * D);
  CHECK(sum.undecayed().empty());
  CHECK(norm.store.count() == 4 * D * D + n);
  CHECK(norm.undecayed() == std::vector<std::string>{"norm.weight"});
  for (int64_t tokens : {1, 100, 100000}) {
    CHECK(site_of(*sum.mixer)->bytes(tokens, DType::f32) == 4 * (H * n * n + H * n));
    CHECK(site_of(*norm.mixer)->bytes(tokens, DType::f32) == 4 * H * n * n);
  }
  constexpr int64_t shared = 8 * D * D + 8 * 2 * D + 4 * H * n * n;  // projections, features, core
  CHECK(sum.forward_flops(2, 6, D) == 12.0 * (shared + 4 * D));
  CHECK(norm.forward_flops(2, 6, D) == 12.0 * (shared + 4 * D));
  CHECK_THROWS_AS(BuiltMixer("linear_attention", "{heads: 3}", D), ConfigError);
}

TEST_CASE("linear_attention: equal values come out as they are, for the weights add up to one") {
  const BuiltMixer m("linear_attention", "{heads: 2}", 8);
  // x has a constant last column, and v and out look at it alone.
  const Tensor qkv = m["qkv.weight"].value, out = m["out.weight"].value;
  for (int64_t r = 16; r < 24; ++r)
    for (int64_t c = 0; c < 8; ++c) put(qkv, r, c, c == 7 ? static_cast<double>(r) : 0);
  for (int64_t r = 0; r < 8; ++r)
    for (int64_t c = 0; c < 8; ++c) put(out, r, c, r == c);
  const Tensor x = random({1, 9, 8}, 1);
  for (int64_t t = 0; t < 9; ++t) put(x, t, 7, 1);
  const Tensor y = m.mixer->forward(x, {});
  for (int64_t t = 0; t < 9; ++t)
    for (int64_t c = 0; c < 8; ++c) CHECK(at(y, t, c) == doctest::Approx(16 + c).epsilon(1e-5));
}
