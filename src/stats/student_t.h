// Student's t: the distribution of a mean of few normal numbers, over its estimated standard error. Boost.Math's; only
// student_t.cpp sees it.
#pragma once

namespace effllm {

// t with P(T <= t) = p, 0 < p < 1, for df > 0 degrees of freedom (Welch's are no integers).
double t_quantile(double p, double df);
// P(|T| >= |t|).
double t_two_sided_p(double t, double df);
// The chance that a two-sided test at level `alpha` finds an effect of `shift` standard errors, 0 to 1: that |T'| of
// the noncentral t is beyond the quantile. At shift 0 it is alpha.
double t_test_power(double shift, double df, double alpha);
// The least shift that is found with that chance, 0 < alpha < power < 1, to 1e-9 of itself.
double t_test_shift(double power, double df, double alpha);

}  // namespace effllm
