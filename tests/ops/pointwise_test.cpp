#include "ops/pointwise.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "ops/op_checks.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr Pointwise kAll[] = {Pointwise::sigmoid,     Pointwise::tanh, Pointwise::relu,      Pointwise::relu2,
                              Pointwise::silu,        Pointwise::gelu, Pointwise::gelu_tanh, Pointwise::softplus,
                              Pointwise::log_sigmoid, Pointwise::exp,  Pointwise::elu1,      Pointwise::reciprocal,
                              Pointwise::laplace,     Pointwise::log};

double plain(Pointwise f, double x) {
  const double s = 1 / (1 + std::exp(-x));
  switch (f) {
    case Pointwise::sigmoid:
      return s;
    case Pointwise::tanh:
      return std::tanh(x);
    case Pointwise::relu:
      return std::max(x, 0.0);
    case Pointwise::relu2:
      return std::pow(std::max(x, 0.0), 2);
    case Pointwise::silu:
      return x * s;
    case Pointwise::gelu:
      return x * 0.5 * std::erfc(-x / std::sqrt(2.0));
    case Pointwise::gelu_tanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case Pointwise::softplus:
      return std::log1p(std::exp(x));
    case Pointwise::log_sigmoid:
      return std::log(s);
    case Pointwise::exp:
      return std::exp(x);
    case Pointwise::elu1:
      return x > 0 ? x + 1 : std::exp(x);
    case Pointwise::reciprocal:
      return 1 / x;
    case Pointwise::laplace:
      return 0.5 * (1 + std::erf((x - M_SQRT1_2) / std::sqrt(1 / (2 * M_PI))));
    case Pointwise::log:
      return std::log(std::max(x, std::numeric_limits<double>::min()));
  }
  return NAN;
}

// Without the neighbourhood of 0, where some derivatives jump.
Tensor away_from_zero(const Shape& s, uint64_t seed) {
  const Tensor x = random(s, seed, DType::f64, 2);
  for (int64_t r = 0; r < x.rows(); ++r)
    for (int64_t c = 0; c < x.cols(); ++c)
      if (std::abs(at(x, r, c)) < 0.2) put(x, r, c, 0.5);
  return x;
}

Function op(Pointwise f) {
  return [f](const Tensors& x) { return std::vector{pointwise(f, x[0])}; };
}
const Function kSwiglu = [](const Tensors& x) { return std::vector{swiglu(x[0])}; };

}  // namespace

TEST_CASE("pointwise: values are those of the formulas") {
  const Tensor x = random({3, 64}, 1, DType::f64, 3);
  for (Pointwise f : kAll) {
    CAPTURE(to_string(f));
    const Tensor y = pointwise(f, x);
    double worst = 0;
    for (int64_t r = 0; r < 3; ++r)
      for (int64_t c = 0; c < 64; ++c) worst = std::max(worst, std::abs(at(y, r, c) - plain(f, at(x, r, c))));
    CHECK(worst < 1e-13 * std::max(1.0, max_abs(y)));
  }
}

TEST_CASE("pointwise: gradients, costs, precision, the same bits on any number of threads") {
  const Tensor x = away_from_zero({2, 3, 5}, 2), positive = pointwise(Pointwise::exp, x);
  for (Pointwise f : kAll) {
    CAPTURE(to_string(f));
    // Below the smallest normal number, which the precisions have differently, log is constant.
    expect_sound(op(f), {f == Pointwise::log ? positive : x});
  }
  expect_sound(kSwiglu, {random({2, 3, 6}, 3)});
  for (Pointwise f : {Pointwise::gelu, Pointwise::softplus})
    expect_same_bits_on_threads(op(f), {random({3, 70, 9}, 5)});
  expect_same_bits_on_threads(kSwiglu, {random({3, 70, 10}, 6)});
}

TEST_CASE("pointwise: every function has a name of its own") {
  std::set<std::string_view> names;
  for (Pointwise f : kAll) CHECK(names.insert(to_string(f)).second);
  CHECK(to_string(Pointwise::gelu_tanh) == "gelu_tanh");
}

TEST_CASE("pointwise: swiglu is silu of the first half times the second") {
  const Tensor x = random({3, 128}, 4), y = swiglu(x);
  CHECK(y.shape() == Shape{3, 64});
  for (int64_t r = 0; r < 3; ++r)
    for (int64_t c = 0; c < 64; ++c)
      REQUIRE(at(y, r, c) == doctest::Approx(plain(Pointwise::silu, at(x, r, c)) * at(x, r, c + 64)).epsilon(1e-13));
}

TEST_CASE("pointwise: swiglu refuses an odd width") { CHECK_THROWS_AS(swiglu(random({2, 7}, 1)), ShapeError); }
