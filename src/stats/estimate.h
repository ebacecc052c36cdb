// A number that was measured a few times: mean, standard error, and what a t interval says of it.
#pragma once
#include <cstdint>
#include <span>

namespace effllm {

struct Estimate {
  double value = 0;
  double standard_error = 0, df = 0;  // 0 where there is no spread to tell them from
  int64_t n = 0;                      // measurements, or pairs; of Welch's, of both sides together

  bool has_spread() const { return standard_error > 0; }
  // Half the width of the two-sided interval of this level, 0.95 for 95 %. Of what has no spread there is none: NaN.
  double half_width(double level) const;
  // Two-sided, of the hypothesis that the value is 0. NaN without spread.
  double p() const;
};

// The mean of independent numbers. One of them alone, or numbers that differ by no more than rounding, have no spread.
Estimate mean_of(std::span<const double> x);
// The mean of a[i] - b[i]; as many of each.
Estimate paired_difference(std::span<const double> a, std::span<const double> b);
// mean(a) - mean(b) of samples that have nothing to do with each other, and variances of their own (Welch 1947).
// Without spread where one side has fewer than two numbers, or neither side has any.
Estimate welch_difference(std::span<const double> a, std::span<const double> b);
// The smallest true value that a test at level `alpha` would have found with this power, if the standard error is what
// it seems. NaN without spread.
double smallest_detectable(const Estimate& e, double alpha, double power = 0.8);

}  // namespace effllm
