#include <doctest/doctest.h>

#include "kernels/optimizer.h"
#include "kernels/rows.h"

using namespace effllm;
using namespace effllm::test;

namespace {

struct Adamw {  // Loshchilov and Hutter 2019, algorithm 2, with the decay scaled by the learning rate as in PyTorch
  double lr, beta1, beta2, eps, weight_decay;
  double value, m = 0, v = 0;
  void step(double g, int t) {
    value *= 1 - lr * weight_decay;
    m = beta1 * m + (1 - beta1) * g;
    v = beta2 * v + (1 - beta2) * g * g;
    const double m_hat = m / (1 - std::pow(beta1, t)), v_hat = v / (1 - std::pow(beta2, t));
    value -= lr * m_hat / (std::sqrt(v_hat) + eps);
  }
};

}  // namespace

TEST_CASE_TEMPLATE("optimizer kernels: adamw follows the paper at every size", T, float, double) {
  constexpr double kLr = 0.01, kBeta1 = 0.9, kBeta2 = 0.999, kEps = 1e-8, kDecay = 0.1, kGradScale = 0.5;
  for_each_size(0, [&](int64_t n, Layout at) {
    Rows<T> value(1, n, at, 1), m(1, n, at, 2, 0), v(1, n, {at.pad, at.offset}, 3, 0);
    std::vector<Adamw> plain;
    for (int64_t i = 0; i < n; ++i) plain.push_back({kLr, kBeta1, kBeta2, kEps, kDecay, value.at(0, i)});
    for (int t = 1; t <= 5; ++t) {
      Rows<T> grad(1, n, at, static_cast<uint64_t>(10 + t));
      kernel::adamw<T>(
          {kLr, kBeta1, kBeta2, kEps, kDecay, kGradScale, 1 - std::pow(kBeta1, t), 1 - std::pow(kBeta2, t)}, n,
          grad.data(), value.data(), m.data(), v.data());
      for (int64_t i = 0; i < n; ++i) plain[static_cast<size_t>(i)].step(kGradScale * grad.at(0, i), t);
    }
    const auto of = [&](double Adamw::*field) {
      return [&, field](int64_t, int64_t i) { return plain[static_cast<size_t>(i)].*field; };
    };
    const double tolerance = sizeof(T) == 4 ? 3e-7 : 1e-15;
    CHECK(value.error(of(&Adamw::value)) < tolerance);
    CHECK(m.error(of(&Adamw::m)) < tolerance);
    CHECK(v.error(of(&Adamw::v)) < tolerance);
  });
}

TEST_CASE_TEMPLATE("optimizer kernels: the first adamw step has length lr whatever the gradient", T, float, double) {
  for_each_isa([] {
    T grad[] = {T(1e-3), T(-1), T(1e3)}, value[] = {0, 0, 0}, m[] = {0, 0, 0}, v[] = {0, 0, 0};
    kernel::adamw<T>({0.01, 0.9, 0.999, 1e-15, 0, 1, 1 - 0.9, 1 - 0.999}, 3, grad, value, m, v);
    const double expected[] = {-0.01, 0.01, -0.01};
    for (int i = 0; i < 3; ++i)
      CHECK(std::abs(static_cast<double>(value[i]) - expected[i]) < (sizeof(T) == 4 ? 1e-8 : 1e-11));
  });
}

TEST_CASE_TEMPLATE("optimizer kernels: sums of squares are accumulated in f64", T, float, double) {
  for_each_size(0, [](int64_t n, Layout at) {
    Rows<T> x(1, n, at, 1);
    double expected = 0;
    for (int64_t i = 0; i < n; ++i) expected += x.at(0, i) * x.at(0, i);
    CHECK(kernel::sum_of_squares<T>(x.data(), n) == doctest::Approx(expected).epsilon(1e-14));
  });
  const std::vector<T> tenths(1 << 20, T(0.1));
  const double square = static_cast<double>(tenths[0]) * static_cast<double>(tenths[0]);
  for_each_isa([&] {
    CHECK(kernel::sum_of_squares<T>(tenths.data(), 1 << 20) == doctest::Approx((1 << 20) * square).epsilon(1e-10));
  });
}
