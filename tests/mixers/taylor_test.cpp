#include <doctest/doctest.h>

#include <cmath>

#include "mixers/built_mixer.h"
#include "mixers/mixer.h"

using namespace effllm;
using namespace effllm::test;

TEST_CASE("taylor: starts as in its authors' code, N(0, 0.02), the output's spread falling with depth") {
  for (int64_t layers : {1, 3, 12}) {
    const BuiltMixer m("taylor", "{}", 64, 0, layers);
    CHECK(m.deviation("qkv.weight") == doctest::Approx(0.02).epsilon(0.05));
    CHECK(m.most("qkv.weight") > 0.05);  // normal, not uniform of that spread: +- 0.035
    CHECK(m.deviation("out.weight") ==
          doctest::Approx(0.02 / std::sqrt(2.0 * static_cast<double>(layers))).epsilon(0.05));
  }
}

TEST_CASE("taylor: parameters, state and work in closed form") {
  constexpr int64_t D = 8, H = 2, f = 3, F = 1 + f + f * (f + 1) / 2;
  const BuiltMixer m("taylor", "{heads: 2, feature_dim: 3}", D);
  CHECK(m.store.count() == D * (2 * H * f + D) + D * D);
  CHECK(m.undecayed().empty());
  for (int64_t tokens : {1, 100, 100000}) CHECK(site_of(*m.mixer)->bytes(tokens, DType::f32) == 4 * (F * D + H * F));
  constexpr int64_t token = 2 * D * (2 * H * f + D) + 2 * H * F + 4 * F * D + 3 * H * F + D + 2 * D * D;
  CHECK(m.forward_flops(2, 6, D) == 12.0 * token);
  CHECK_THROWS_AS(BuiltMixer("taylor", "{heads: 3}", D), ConfigError);
}

TEST_CASE("taylor: attention with the polynomial in place of the exponential") {
  constexpr int64_t D = 8, H = 2, f = 3, T = 7;
  const BuiltMixer m("taylor", "{heads: 2, feature_dim: 3}", D);
  const Tensor x = random({1, T, D}, 1), y = m.mixer->forward(x, {});
  const auto project = [](const Tensor& w, int64_t row, const std::function<double(int64_t)>& in) {
    double s = 0;
    for (int64_t c = 0; c < w.cols(); ++c) s += at(w, row, c) * in(c);
    return s;
  };
  const Tensor& w = m["qkv.weight"].value;
  const auto qkv = [&](int64_t row, int64_t t) { return project(w, row, [&](int64_t c) { return at(x, t, c); }); };
  for (int64_t t = 0; t < T; ++t) {
    double mixed[D];
    for (int64_t h = 0; h < H; ++h) {
      double sum = 0, weighted[D / H] = {};
      for (int64_t j = 0; j <= t; ++j) {
        double score = 0;
        for (int64_t i = 0; i < f; ++i) score += qkv(h * f + i, t) * qkv((H + h) * f + i, j);
        score /= std::sqrt(static_cast<double>(f));
        const double weight = 1 + score + score * score / 2;
        sum += weight;
        for (int64_t c = 0; c < D / H; ++c) weighted[c] += weight * qkv(2 * H * f + h * (D / H) + c, j);
      }
      for (int64_t c = 0; c < D / H; ++c) mixed[h * (D / H) + c] = weighted[c] / sum;
    }
    for (int64_t c = 0; c < D; ++c)
      CHECK(at(y, t, c) ==
            doctest::Approx(project(m["out.weight"].value, c, [&](int64_t i) { return mixed[i]; })).epsilon(1e-10));
  }
}
