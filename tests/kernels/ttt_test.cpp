#include <doctest/doctest.h>

#include "kernels/rows.h"
#include "kernels/ttt.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr double kEps = 0.05;

template <class T>
struct Problem {
  Problem(int64_t rows, int64_t n, Layout at)
      : z(rows, n, at, 1),
        k(rows, n, at, 2),
        v(rows, n, at, 3),
        eta(rows, 1, at, 4),
        weight(1, n, at, 5),
        bias(1, n, at, 6),
        d_a(rows, n, at, 7) {}
  TttRows<T> rows() {
    return {z.view(), k.view(), v.view(), eta.view(), weight.data(), bias.data(), static_cast<T>(kEps)};
  }
  Rows<T> z, k, v, eta, weight, bias, d_a;
};

// eta d/dz of 1/2 |LN(z) - (v - k)|^2 of row t, from the derivative of LN's every output by every input.
template <class T>
std::vector<double> step_of(const Problem<T>& p, int64_t t, int64_t n) {
  const auto width = static_cast<size_t>(n);
  double mean = 0, var = 0;
  for (int64_t i = 0; i < n; ++i) mean += p.z.at(t, i) / static_cast<double>(n);
  for (int64_t i = 0; i < n; ++i) var += std::pow(p.z.at(t, i) - mean, 2) / static_cast<double>(n);
  const double r = 1 / std::sqrt(var + kEps);
  std::vector<double> a(width);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j) {
      const double hi = (p.z.at(t, i) - mean) * r, hj = (p.z.at(t, j) - mean) * r;
      const double slope = r * ((i == j) - 1 / static_cast<double>(n) - hi * hj / static_cast<double>(n));
      const double e = p.weight.at(0, j) * hj + p.bias.at(0, j) - p.v.at(t, j) + p.k.at(t, j);
      a[static_cast<size_t>(i)] += p.eta.at(t, 0) * slope * p.weight.at(0, j) * e;
    }
  return a;
}

// Row t's d_a . a as a function of what one number x is.
template <class T>
double slope_of(Problem<T>& p, int64_t t, int64_t n, T& x) {
  constexpr double kStep = 1e-5;
  const T before = x;
  double sum[2] = {};
  for (int side = 0; side < 2; ++side) {
    x = before + static_cast<T>(side ? kStep : -kStep);
    const auto a = step_of(p, t, n);
    for (int64_t i = 0; i < n; ++i) sum[side] += p.d_a.at(t, i) * a[static_cast<size_t>(i)];
  }
  x = before;
  return (sum[1] - sum[0]) / (2 * kStep);
}

}  // namespace

TEST_CASE_TEMPLATE("ttt kernel: the inner gradient is that of the loss", T, float, double) {
  for_each_size(1, [](int64_t n, Layout at) {
    Problem<T> p(3, n, at);
    Rows<T> a(3, n, at, 9);
    kernel::ttt_gradient<T>(p.rows(), a.view());
    CHECK(a.error([&](int64_t t, int64_t i) { return step_of(p, t, n)[static_cast<size_t>(i)]; }) < 10 * kTolerance<T>);
  });
}

TEST_CASE("ttt kernel: the gradient's own gradient is that of differences, f64, and f32 is near it") {
  for_each_isa([] {
    for (int64_t n : {1, 2, 3, 8, 17, 33}) {
      constexpr int64_t kRows = 2;
      const Layout at{1, 3};
      Problem<double> p(kRows, n, at);
      Rows<double> dz(kRows, n, at, 10), de(kRows, n, at, 11), d_eta(kRows, 1, at, 12), d_weight(1, n, at, 13),
          d_bias(1, n, at, 14);
      kernel::ttt_gradient_backward<double>(
          p.rows(), {p.d_a.view(), dz.view(), de.view(), d_eta.view(), true, d_weight.data(), d_bias.data()});
      constexpr double kBound = 1e-6;
      CHECK(dz.error([&](int64_t t, int64_t i) { return slope_of(p, t, n, p.z.view().row(t)[i]); }) < kBound);
      CHECK(de.error([&](int64_t t, int64_t i) { return slope_of(p, t, n, p.k.view().row(t)[i]); }) < kBound);
      CHECK(d_eta.error([&](int64_t t, int64_t) {
        return d_eta.before(t, 0) + slope_of(p, t, n, *p.eta.view().row(t));
      }) < kBound);
      const auto over_rows = [&](double& x) {
        double sum = 0;
        for (int64_t t = 0; t < kRows; ++t) sum += slope_of(p, t, n, x);
        return sum;
      };
      CHECK(d_weight.error([&](int64_t, int64_t i) { return d_weight.before(0, i) + over_rows(p.weight.data()[i]); }) <
            kBound);
      CHECK(d_bias.error([&](int64_t, int64_t i) { return d_bias.before(0, i) + over_rows(p.bias.data()[i]); }) <
            kBound);

      Problem<float> f(kRows, n, at);
      Rows<float> fz(kRows, n, at, 10), fe(kRows, n, at, 11), f_weight(1, n, at, 13), f_bias(1, n, at, 14);
      kernel::ttt_gradient_backward<float>(
          f.rows(), {f.d_a.view(), fz.view(), fe.view(), {}, false, f_weight.data(), f_bias.data()});
      CHECK(fz.error([&](int64_t t, int64_t i) { return dz.at(t, i); }) < 1e-4);
      CHECK(fe.error([&](int64_t t, int64_t i) { return de.at(t, i); }) < 1e-4);
      CHECK(f_weight.error([&](int64_t, int64_t i) { return d_weight.at(0, i); }) < 1e-4);
      CHECK(f_bias.error([&](int64_t, int64_t i) { return d_bias.at(0, i); }) < 1e-4);
    }
  });
}

TEST_CASE_TEMPLATE("ttt kernel: tokens read the steps up to their own", T, float, double) {
  for_each_isa([] {
    for (int64_t n : {1, 7, 16, 33, 64, 100, 129})
      for (int64_t rows : {1, 2, 5, 16})
        for (bool with_sum : {false, true}) {
          const Layout at{1, 3};
          const Rows<T> scores(rows, rows, at, 1), a(rows, n, at, 2), sum(rows, n, at, 3);
          Rows<T> bias(1, n, at, 4), tau(1, rows, at, 5), y(rows, n, at, 6);
          kernel::ttt_read<T>(
              {scores.view(), a.view(), with_sum ? sum.view() : View<const T>{}, bias.data(), tau.data(), y.view()});
          CHECK(y.error([&](int64_t i, int64_t c) {
            double s = with_sum ? sum.at(i, c) : 0;
            for (int64_t j = 0; j <= i; ++j) s += (1 + scores.at(i, j)) * a.at(j, c);
            return y.before(i, c) + bias.at(0, c) - tau.at(0, i) * s;
          }) < 10 * kTolerance<T>);
        }
  });
}
