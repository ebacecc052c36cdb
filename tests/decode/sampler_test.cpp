#include "decode/sampler.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "base/error.h"

using namespace effllm;

namespace {

const double kInf = std::numeric_limits<double>::infinity();
const std::vector<double> kLogits = {std::log(0.1), std::log(0.4), std::log(0.2), std::log(0.3)};

void check_near(const std::vector<double>& got, const std::vector<double>& expected) {
  REQUIRE(got.size() == expected.size());
  for (size_t i = 0; i < got.size(); ++i) CHECK(got[i] == doctest::Approx(expected[i]).epsilon(1e-12));
}

std::vector<double> dist(const std::vector<double>& logits, const SamplerOptions& o) {
  return probabilities(std::span<const double>(logits), o);
}
int32_t take(const std::vector<double>& logits, const SamplerOptions& o, uint64_t s = 0, uint64_t t = 0) {
  return sample(std::span<const double>(logits), o, s, t);
}

}  // namespace

TEST_CASE("sampler: temperature divides the logits") {
  check_near(dist(kLogits, {}), {0.1, 0.4, 0.2, 0.3});
  check_near(dist(kLogits, {.temperature = 0.5}), {0.01 / 0.3, 0.16 / 0.3, 0.04 / 0.3, 0.09 / 0.3});
  check_near(dist(kLogits, {.temperature = 1e-300}), {0, 1, 0, 0});
  check_near(dist(kLogits, {.temperature = 1e12}), {0.25, 0.25, 0.25, 0.25});
  check_near(dist(kLogits, {.temperature = 0}), {0, 1, 0, 0});
}

TEST_CASE("sampler: top-k keeps the k most likely, top-p the fewest that reach p, in this order") {
  check_near(dist(kLogits, {.top_k = 2}), {0, 4.0 / 7, 0, 3.0 / 7});
  check_near(dist(kLogits, {.top_k = 9}), {0.1, 0.4, 0.2, 0.3});
  check_near(dist(kLogits, {.top_p = 0.65}), {0, 4.0 / 7, 0, 3.0 / 7});
  check_near(dist(kLogits, {.top_p = 0.75}), {0, 4.0 / 9, 2.0 / 9, 3.0 / 9});
  check_near(dist(kLogits, {.top_p = 1e-9}), {0, 1, 0, 0});
  // Of the whole 0.4 is below 0.5; of the two that top-k leaves it is 4/7 and suffices.
  check_near(dist(kLogits, {.top_k = 2, .top_p = 0.5}), {0, 1, 0, 0});
  check_near(dist(kLogits, {.top_p = 0.5}), {0, 4.0 / 7, 0, 3.0 / 7});
  // Temperature comes first: at 1/2 the largest has 0.53 and suffices alone.
  check_near(dist(kLogits, {.temperature = 0.5, .top_p = 0.5}), {0, 1, 0, 0});
}

TEST_CASE("sampler: equal logits count in the order of their indices") {
  const std::vector<double> flat = {1, 1, 1, 1};
  CHECK(take(flat, {.temperature = 0}) == 0);
  CHECK(take({0, 3, 3, 1}, {.temperature = 0}) == 1);
  check_near(dist(flat, {.top_k = 2}), {0.5, 0.5, 0, 0});
  check_near(dist(flat, {.top_p = 0.5}), {0.5, 0.5, 0, 0});
  check_near(dist(flat, {.top_p = 0.7}), {1.0 / 3, 1.0 / 3, 1.0 / 3, 0});
}

TEST_CASE("sampler: frequencies follow the distribution") {
  constexpr int kDraws = 40000;
  for (const SamplerOptions& o : {SamplerOptions{}, SamplerOptions{.temperature = 2, .seed = 7},
                                  SamplerOptions{.top_k = 3, .seed = 3}, SamplerOptions{.top_p = 0.65}}) {
    const auto p = dist(kLogits, o);
    std::vector<double> seen(4);
    for (uint64_t i = 0; i < kDraws; ++i) ++seen[static_cast<size_t>(take(kLogits, o, i % 5, i / 5))];
    double chi2 = 0;
    for (size_t i = 0; i < 4; ++i) {
      if (p[i] == 0) CHECK(seen[i] == 0);
      if (p[i] > 0) chi2 += std::pow(seen[i] - kDraws * p[i], 2) / (kDraws * p[i]);
    }
    CHECK(chi2 < 16.3);  // 0.1 % at 3 degrees of freedom
  }
}

TEST_CASE("sampler: a draw depends on seed, sample and token index alone, whatever filter keeps everything") {
  int differ_by_seed = 0, differ_by_sample = 0, differ_by_token = 0;
  for (uint64_t i = 0; i < 200; ++i) {
    const int32_t t = take(kLogits, {}, 3, i);
    CHECK(take(kLogits, {}, 3, i) == t);
    CHECK(take(kLogits, {.top_k = 4}, 3, i) == t);
    differ_by_seed += take(kLogits, {.seed = 2}, 3, i) != t;
    differ_by_sample += take(kLogits, {}, 4, i) != t;
    differ_by_token += take(kLogits, {}, 3, i + 1) != t;
  }
  for (const int n : {differ_by_seed, differ_by_sample, differ_by_token}) CHECK(n > 80);
}

TEST_CASE("sampler: f32 logits give the token of the same f64 logits") {
  const std::vector<float> f = {0.5F, -1, 2, 1.25F, 0};
  const std::vector<double> d(f.begin(), f.end());
  for (uint64_t i = 0; i < 100; ++i) CHECK(sample(std::span<const float>(f), {}, 0, i) == take(d, {}, 0, i));
  CHECK(sample(std::span<const float>(f), {.temperature = 0}, 0, 0) == 2);
}

TEST_CASE("sampler: logits of -inf are never drawn, NaN, +inf and all -inf are numerical errors") {
  for (uint64_t i = 0; i < 100; ++i) CHECK(take({-kInf, 0, -kInf, 0}, {.temperature = 3}, 0, i) % 2 == 1);
  for (const double t : {0.0, 1.0}) {
    CHECK_THROWS_AS(take({0, std::nan(""), 1}, {.temperature = t}), NumericalError);
    CHECK_THROWS_AS(take({std::nan(""), 0, 1}, {.temperature = t}), NumericalError);
    CHECK_THROWS_AS(take({0, kInf, 1}, {.temperature = t}), NumericalError);
    CHECK_THROWS_AS(take({-kInf, -kInf}, {.temperature = t}), NumericalError);
  }
  CHECK_THROWS_AS(take({}, {}), ShapeError);
  const std::vector<double> p = dist({1e300, -1e300, 0}, {});
  CHECK(std::accumulate(p.begin(), p.end(), 0.0) == 1);
}

TEST_CASE("sampler: options out of range are refused by name") {
  for (const SamplerOptions& o :
       {SamplerOptions{.temperature = -1}, SamplerOptions{.temperature = std::nan("")},
        SamplerOptions{.temperature = kInf}, SamplerOptions{.top_k = -1}, SamplerOptions{.top_p = 0},
        SamplerOptions{.top_p = 1.5}, SamplerOptions{.top_p = std::nan("")}}) {
    CHECK_THROWS_AS(check(o), ConfigError);
    CHECK_THROWS_AS(take(kLogits, o), ConfigError);
  }
  CHECK_NOTHROW(check(SamplerOptions{}));
  CHECK_THROWS_WITH_AS(check(SamplerOptions{.top_k = -3}), "a top_k of -3: it must be 0 (all tokens) or positive",
                       ConfigError);
}
