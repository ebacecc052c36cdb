#include "stats/student_t.h"

#include <boost/math/distributions/non_central_t.hpp>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>

#include "base/error.h"

namespace effllm {
namespace bm = boost::math;
namespace {

// In double: with long doubles the library computes tables before main(), which valgrind's arithmetic does not survive.
using Policy = bm::policies::policy<bm::policies::promote_double<false>>;
using StudentsT = bm::students_t_distribution<double, Policy>;
using NonCentralT = bm::non_central_t_distribution<double, Policy>;

}  // namespace

double t_quantile(double p, double df) {
  require(p > 0 && p < 1 && df > 0, "no quantile of Student's t for p {} and {} degrees of freedom", p, df);
  return bm::quantile(StudentsT(df), p);
}

double t_two_sided_p(double t, double df) {
  require(std::isfinite(t) && df > 0, "no p of Student's t for {} and {} degrees of freedom", t, df);
  return 2 * bm::cdf(bm::complement(StudentsT(df), std::abs(t)));
}

double t_test_power(double shift, double df, double alpha) {
  const double beyond = t_quantile(1 - alpha / 2, df);
  if (shift == 0) return alpha;
  const NonCentralT moved(df, std::abs(shift));
  return bm::cdf(bm::complement(moved, beyond)) + bm::cdf(moved, -beyond);
}

double t_test_shift(double power, double df, double alpha) {
  require(alpha > 0 && alpha < power && power < 1, "no effect has power {} at level {}", power, alpha);
  double lo = 0, hi = 1;
  while (t_test_power(hi, df, alpha) < power) lo = hi, hi *= 2;
  while (hi - lo > 1e-9 * hi) {
    const double middle = (lo + hi) / 2;
    (t_test_power(middle, df, alpha) < power ? lo : hi) = middle;
  }
  return hi;
}

}  // namespace effllm
