// The bounds that kernels/isa/math.h states, for the copies that each instruction set runs (through its pointwise
// kernels) and, where no kernel shows a function bare, for a copy compiled here.
#include <doctest/doctest.h>

#include <algorithm>

#include "kernels/pointwise.h"
#include "kernels/rows.h"
#define EFFLLM_ISA compiled_here
#include "kernels/isa/math.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr double kSmallestNormal = 0x1p-126;

// Distance in units of the last place of the f32 nearest to `exact`. Results below the smallest normal may be 0.
double ulps(float got, double exact) {
  const auto nearest = static_cast<float>(exact);
  if (std::isinf(nearest)) return got == nearest ? 0 : std::numeric_limits<double>::infinity();
  if (!std::isfinite(got)) return std::numeric_limits<double>::infinity();
  if (std::abs(exact) < kSmallestNormal) return std::abs(got) <= kSmallestNormal ? 0 : std::abs(got) / kSmallestNormal;
  int exponent;
  std::frexp(nearest, &exponent);
  return std::abs(static_cast<double>(got) - exact) / std::ldexp(1.0, exponent - 24);
}

// 2^20 finite floats spread over all exponents and both signs, and 2^18 over [-110, 110].
const std::vector<float>& samples() {
  static const std::vector<float> all = [] {
    std::vector<float> x;
    for (uint64_t bits = 0; bits < (uint64_t{1} << 32); bits += 4051) {
      const auto v = std::bit_cast<float>(static_cast<uint32_t>(bits));
      if (std::isfinite(v)) x.push_back(v);
    }
    for (int i = 0; i < 1 << 18; ++i) x.push_back(static_cast<float>(-110 + i * (220.0 / (1 << 18))));
    return x;
  }();
  return all;
}

struct Bound {
  const char* name;
  Pointwise f;
  double (*exact)(double);
  double most;
};
double exact_softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }
constexpr Bound kBounds[] = {
    {"exp", Pointwise::exp, [](double x) { return std::exp(x); }, 1.5},
    {"sigmoid", Pointwise::sigmoid, [](double x) { return 1 / (1 + std::exp(-x)); }, 3},
    {"tanh", Pointwise::tanh, [](double x) { return std::tanh(x); }, 2},
    {"softplus", Pointwise::softplus, exact_softplus, 2},
    {"log_sigmoid", Pointwise::log_sigmoid, [](double x) { return -exact_softplus(-x); }, 2},
};

float apply(Pointwise f, float x) {
  float y;
  kernel::pointwise<float>(f, {&x, 1, 1, 1}, {&y, 1, 1, 1});
  return y;
}

}  // namespace

TEST_CASE("math: f32 functions stay within their bounds over the whole range, with every instruction set") {
  const std::vector<float>& x = samples();
  REQUIRE(x.size() >= size_t{1} << 20);
  const auto n = static_cast<int64_t>(x.size());
  std::vector<float> y(x.size());
  for (const Bound& b : kBounds) {
    std::vector<double> exact(x.begin(), x.end());
    for (double& v : exact) v = b.exact(v);
    for_each_isa([&] {
      kernel::pointwise<float>(b.f, {x.data(), 1, n, n}, {y.data(), 1, n, n});
      double worst = 0;
      float where = 0;
      for (size_t i = 0; i < x.size(); ++i)
        if (const double u = ulps(y[i], exact[i]); u > worst) worst = u, where = x[i];
      CAPTURE(isa());
      CAPTURE(b.name);
      CAPTURE(where);
      CHECK(worst < b.most);
    });
  }
}

TEST_CASE("math: f32 expm1, log and erf stay within their bounds over the whole range") {
  double worst_expm1 = 0, worst_log = 0, worst_erf = 0;
  for (float x : samples()) {
    if (x <= 88)
      worst_expm1 = std::max(worst_expm1, ulps(compiled_here::fast_expm1(x), std::expm1(static_cast<double>(x))));
    worst_erf = std::max(worst_erf, ulps(compiled_here::fast_erf(x), std::erf(static_cast<double>(x))));
    if (x >= static_cast<float>(kSmallestNormal))
      worst_log = std::max(worst_log, ulps(compiled_here::fast_log(x), std::log(static_cast<double>(x))));
  }
  CHECK(worst_expm1 < 2);
  CHECK(worst_log < 1);
  CHECK(worst_erf < 7);
}

TEST_CASE("math: the f32 normal distribution and density are within 3e-7, gelu's slope with every instruction set") {
  double worst = 0;
  const auto exact_below = [](double x) { return 0.5 * std::erfc(-x * M_SQRT1_2); };
  const auto exact_density = [](double x) { return std::exp(-0.5 * x * x) / std::sqrt(2 * M_PI); };
  std::vector<float> x, dy, dx(24001);
  for (int i = 0; i <= 24000; ++i) x.push_back(static_cast<float>(-12 + 1e-3 * i));
  for (float v : x) {
    const auto n = compiled_here::normal(v);
    const double below = n.below, density = n.density;
    worst = std::max({worst, std::abs(below - exact_below(v)), std::abs(density - exact_density(v))});
  }
  CHECK(worst < 3e-7);
  dy.assign(x.size(), 1);
  const auto n = static_cast<int64_t>(x.size());
  for_each_isa([&] {
    kernel::pointwise_backward<float>(Pointwise::gelu, {x.data(), 1, n, n}, {dy.data(), 1, n, n}, {dx.data(), 1, n, n},
                                      false);
    double off = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      const double v = x[i];
      off = std::max(off, std::abs(static_cast<double>(dx[i]) - (exact_below(v) + v * exact_density(v))));
    }
    CHECK(off < 5e-7);
  });
}

TEST_CASE("math: two f32 sigmoids by one division, near +-40 and beyond") {
  double worst = 0;
  for (int i = -4000; i <= 4000; ++i)
    for (float y : {-50.f, -39.f, -1.f, 0.f, 2.f, 60.f}) {
      const float x = 0.01f * static_cast<float>(i);
      const auto s = compiled_here::sigmoids(x, y), swapped = compiled_here::sigmoids(y, x);
      CHECK(s.x == swapped.y);
      worst = std::max(worst, ulps(s.x, 1 / (1 + std::exp(-static_cast<double>(x)))));
    }
  CHECK(worst < 5);
  const auto far = compiled_here::sigmoids(-1e30f, 1e30f);
  CHECK(far.x > 0);
  CHECK(far.x < 1e-17f);
  CHECK(far.y == 1);
  CHECK(std::isnan(compiled_here::sigmoids(std::nanf(""), 0).x));
}

TEST_CASE("math: infinities and NaN come out as they should, with every instruction set") {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  for_each_isa([&] {
    CAPTURE(isa());
    CHECK(apply(Pointwise::exp, -kInf) == 0);
    CHECK(apply(Pointwise::exp, kInf) == kInf);
    CHECK(apply(Pointwise::exp, 0) == 1);
    CHECK(apply(Pointwise::sigmoid, -kInf) == 0);
    CHECK(apply(Pointwise::sigmoid, kInf) == 1);
    CHECK(apply(Pointwise::tanh, -kInf) == -1);
    CHECK(apply(Pointwise::tanh, kInf) == 1);
    CHECK(apply(Pointwise::softplus, kInf) == kInf);
    CHECK(apply(Pointwise::log_sigmoid, kInf) == 0);
    for (const Bound& b : kBounds) CHECK(std::isnan(apply(b.f, std::nanf(""))));
    CHECK(std::isnan(apply(Pointwise::gelu, std::nanf(""))));
  });
}

TEST_CASE("math: gelu is 0 far below and x far above, with every instruction set") {
  for_each_isa([] {
    for (float x : {6.f, 100.f, 1e4f, 1e30f})
      for (Pointwise f : {Pointwise::gelu, Pointwise::gelu_tanh}) {
        CHECK(apply(f, x) == x);
        CHECK(std::abs(apply(f, -x)) < 1e-8f);
      }
    double worst = 0;
    for (float x = -6; x < 6; x += 1e-3f)
      worst = std::max(worst, std::abs(static_cast<double>(apply(Pointwise::gelu, x)) -
                                       0.5 * static_cast<double>(x) * std::erfc(static_cast<double>(-x) * M_SQRT1_2)));
    CHECK(worst < 2e-6);
  });
}

TEST_CASE("math: f64 functions agree with long doubles, with every instruction set") {
  std::vector<double> x, y(2001);
  for (int i = 0; i <= 2000; ++i) x.push_back((i - 1000) * 0.0371);
  const auto n = static_cast<int64_t>(x.size());
  for_each_isa([&] {
    const auto worst = [&](Pointwise f, auto exact) {
      kernel::pointwise<double>(f, {x.data(), 1, n, n}, {y.data(), 1, n, n});
      long double w = 0;
      for (size_t i = 0; i < x.size(); ++i) {
        const long double e = exact(static_cast<long double>(x[i]));
        if (e != 0) w = std::max(w, std::abs((y[i] - e) / e));
      }
      return static_cast<double>(w);
    };
    constexpr double kFew = 4 * 0x1p-52;
    CHECK(worst(Pointwise::exp, [](long double v) { return std::exp(v); }) < kFew);
    CHECK(worst(Pointwise::sigmoid, [](long double v) { return 1 / (1 + std::exp(-v)); }) < kFew);
    CHECK(worst(Pointwise::tanh, [](long double v) { return std::tanh(v); }) < kFew);
    CHECK(worst(Pointwise::softplus,
                [](long double v) { return std::max(v, 0.0L) + std::log1p(std::exp(-std::abs(v))); }) < kFew);
  });
}
