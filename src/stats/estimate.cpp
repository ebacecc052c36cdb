#include "stats/estimate.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/error.h"
#include "stats/student_t.h"

namespace effllm {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
// Of the numbers: a spread below it is what rounding leaves of equal differences, and would make any of them certain.
constexpr double kRounding = 1e-13;

double largest(std::span<const double> x) {
  double most = 0;
  for (const double v : x) most = std::max(most, std::abs(v));
  return most;
}

// Of x - x[0]: equal numbers have a variance of 0 to the bit. `magnitude` is that of the numbers that rounding was of.
Estimate mean_of(std::span<const double> x, double magnitude) {
  const auto n = static_cast<double>(x.size());
  double sum = 0, squares = 0;
  for (const double v : x) sum += v - x[0];
  Estimate e{.value = x[0] + sum / n, .n = static_cast<int64_t>(x.size())};
  if (x.size() < 2) return e;
  for (const double v : x) squares += (v - e.value) * (v - e.value);
  const double se = std::sqrt(squares / (n - 1) / n);
  if (se > kRounding * magnitude) e.standard_error = se, e.df = n - 1;
  return e;
}

}  // namespace

double Estimate::half_width(double level) const {
  return has_spread() ? standard_error * t_quantile((1 + level) / 2, df) : kNone;
}

double Estimate::p() const { return has_spread() ? t_two_sided_p(value / standard_error, df) : kNone; }

Estimate mean_of(std::span<const double> x) {
  require(!x.empty(), "a mean of nothing");
  return mean_of(x, largest(x));
}

Estimate paired_difference(std::span<const double> a, std::span<const double> b) {
  require(!a.empty() && a.size() == b.size(), "{} and {} numbers are no pairs", a.size(), b.size());
  std::vector<double> d;
  for (size_t i = 0; i < a.size(); ++i) d.push_back(a[i] - b[i]);
  return mean_of(d, std::max(largest(a), largest(b)));
}

Estimate welch_difference(std::span<const double> a, std::span<const double> b) {
  const Estimate x = mean_of(a), y = mean_of(b);
  Estimate e{.value = x.value - y.value, .n = x.n + y.n};
  if (x.n < 2 || y.n < 2 || (!x.has_spread() && !y.has_spread())) return e;
  const double u = x.standard_error * x.standard_error, v = y.standard_error * y.standard_error;
  e.standard_error = std::sqrt(u + v);
  e.df = (u + v) * (u + v) / (u * u / static_cast<double>(x.n - 1) + v * v / static_cast<double>(y.n - 1));
  return e;
}

double smallest_detectable(const Estimate& e, double alpha, double power) {
  return e.has_spread() ? e.standard_error * t_test_shift(power, e.df, alpha) : kNone;
}

}  // namespace effllm
