// Elementary functions that a loop can be vectorised over: branch-free in f32, the C library's in f64. Largest errors
// in f32, held by tests/kernels/math_test.cpp over arguments of the whole range: exp 1.5 ulp, expm1 2, log 1, sigmoid
// 3, tanh 2, softplus 2, erf 7. Results below the smallest normal number may be 0.
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>

#include "kernels/isa/polynomial.h"
#include "kernels/isa/simd.h"

namespace effllm::EFFLLM_ISA {

[[gnu::always_inline]] inline float magnitude(float x) { return __builtin_fabsf(x); }
[[gnu::always_inline]] inline double magnitude(double x) { return __builtin_fabs(x); }

[[gnu::always_inline]] inline float expm1_of_rest(float r) {  // e^r - 1 for |r| <= log(2) / 2
  const float p = polynomial(r, 1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f,
                             1.6666665459e-1f, 5.0000001201e-1f);
  return mul_add(p * r, r, r);
}
[[gnu::always_inline]] inline float exp_of_rest(float r) { return expm1_of_rest(r) + 1.f; }

// e^x by Cody and Waite: x = n log 2 + r, |r| <= log(2)/2, a polynomial for e^r, then 2^n by its exponent bits in two
// factors, so that results down to the smallest normal number are right; below them 0.
struct ExpParts {
  float scaled, power;  // e^x is their product
};
[[gnu::always_inline]] inline ExpParts exp_parts(float x) {
  x = x < -104.f ? -104.f : x;
  x = x > 88.8f ? 88.8f : x;
  const float n = mul_add(x, 1.44269504f, 12582912.f) - 12582912.f;  // rounds to nearest: 1.5 * 2^23
  float r = mul_sub_from(n, 0.693359375f, x);
  r = mul_add(n, 2.12194440e-4f, r);
  const float p = exp_of_rest(r);
  const int32_t i = static_cast<int32_t>(n), half = i >> 1;
  const float a = std::bit_cast<float>((half + 127) << 23), b = std::bit_cast<float>((i - half + 127) << 23);
  return {p * a, b};
}
[[gnu::always_inline]] inline float fast_exp(float x) {
  const ExpParts e = exp_parts(x);
  return e.scaled * e.power;
}
[[gnu::always_inline]] inline double fast_exp(double x) { return __builtin_exp(x); }
[[gnu::always_inline]] inline float one_plus_exp(float x) {
  const ExpParts e = exp_parts(x);
  return mul_add(e.scaled, e.power, 1.f);
}
[[gnu::always_inline]] inline double one_plus_exp(double x) { return 1 + __builtin_exp(x); }

// x = n log 2 + rest as above; of n, in low bits of a float, 2^n.
struct Reduced {
  float rest, power;
};
[[gnu::always_inline]] inline Reduced reduced(float x) {
  const float shifted = mul_add(x, 1.44269504f, 12582912.f), n = shifted - 12582912.f;
  const float rest = mul_add(n, 2.12194440e-4f, mul_sub_from(n, 0.693359375f, x));
  return {rest, std::bit_cast<float>((std::bit_cast<int32_t>(shifted) + 127) << 23)};
}

// e^x - 1 for x <= 88, of small x too: 2^n (e^r - 1) + (2^n - 1), with n and r as above.
[[gnu::always_inline]] inline float fast_expm1(float x) {
  x = x < -87.f ? -87.f : x;
  x = x > 88.f ? 88.f : x;
  const Reduced r = reduced(x);
  return mul_add(r.power, expm1_of_rest(r.rest), r.power - 1.f);
}
[[gnu::always_inline]] inline double fast_expm1(double x) { return __builtin_expm1(x); }

// log x of a positive normal number: x = m 2^e with m in [sqrt(1/2), sqrt(2)), a polynomial in m - 1 (Cephes' logf).
[[gnu::always_inline]] inline float fast_log(float x) {
  const auto bits = std::bit_cast<int32_t>(x);
  const int32_t shifted = bits - 0x3f3504f3;
  const float e = static_cast<float>(shifted >> 23);
  const float m = std::bit_cast<float>((shifted & 0x007fffff) + 0x3f3504f3) - 1.f;
  const float z = m * m;
  const float p =
      polynomial(m, 7.0376836292e-2f, -1.1514610310e-1f, 1.1676998740e-1f, -1.2420140846e-1f, 1.4249322787e-1f,
                 -1.6668057665e-1f, 2.0000714765e-1f, -2.4999993993e-1f, 3.3333331174e-1f);
  float y = p * m * z;
  y = mul_add(e, -2.12194440e-4f, y);
  y = mul_sub_from(0.5f, z, y);
  return mul_add(e, 0.693359375f, m + y);
}
[[gnu::always_inline]] inline double fast_log(double x) { return __builtin_log(x); }

template <class T>
[[gnu::always_inline]] inline T sigmoid(T x) {
  return T(1) / one_plus_exp(-x);
}

// Two sigmoids by one division, to 5 ulp in f32, where arguments beyond +-40 count as that: e^-40 instead of less.
template <class T>
struct Sigmoids {
  T x, y;
};
[[gnu::always_inline]] inline float exp_within_40(float x) {
  x = x < -40.f ? -40.f : x;
  x = x > 40.f ? 40.f : x;
  const Reduced r = reduced(x);
  return exp_of_rest(r.rest) * r.power;
}
[[gnu::always_inline]] inline Sigmoids<float> sigmoids(float x, float y) {
  const float a = 1.f + exp_within_40(-x), b = 1.f + exp_within_40(-y), r = 1.f / (a * b);
  return {r * b, r * a};
}
[[gnu::always_inline]] inline Sigmoids<double> sigmoids(double x, double y) { return {sigmoid(x), sigmoid(y)}; }

// log(1 + x) for x in [0, 1]: log of the rounded sum, corrected for what rounding lost.
[[gnu::always_inline]] inline float fast_log1p(float x) {
  const float u = 1.f + x;
  return fast_log(u) + (x - (u - 1.f)) / u;
}
[[gnu::always_inline]] inline double fast_log1p(double x) { return __builtin_log1p(x); }

template <class T>
[[gnu::always_inline]] inline T softplus(T x) {
  return (x > 0 ? x : T(0)) + fast_log1p(fast_exp(-magnitude(x)));
}

// Near 0 an odd polynomial, elsewhere 1 - 2 / (1 + e^2x).
[[gnu::always_inline]] inline float fast_tanh(float x) {
  const float a = magnitude(x), z = x * x;
  const float p =
      polynomial(z, -5.70498872745e-3f, 2.06390887954e-2f, -5.37397155531e-2f, 1.33314422036e-1f, -3.33332819422e-1f);
  const float small = mul_add(p * z, x, x);
  const float large = 1.f - 2.f / one_plus_exp(2.f * a);
  return a < 0.625f ? small : __builtin_copysignf(large, x);
}
[[gnu::always_inline]] inline double fast_tanh(double x) { return __builtin_tanh(x); }

// A rational minimax form on |x| <= 4 (as in Eigen and XLA); from 3.92 on erf rounds to 1, and anything less than
// exactly 1 there would show in gelu(x) = x (1 + erf(x / sqrt 2)) / 2 of large negative x.
[[gnu::always_inline]] inline float fast_erf(float x) {
  float a = magnitude(x);
  a = a > 4.f ? 4.f : a;
  const float z = a * a;
  const float p =
      polynomial(z, -2.72614225801306e-10f, 2.77068142495902e-08f, -2.10102402082508e-06f, -5.69250639462346e-05f,
                 -7.34990630326855e-04f, -2.95459980854025e-03f, -1.60960333262415e-02f);
  const float q = polynomial(z, -1.45660718464996e-05f, -2.13374055278905e-04f, -1.68282697438203e-03f,
                             -7.37332916720468e-03f, -1.42647390514189e-02f);
  float y = a * (p / q);
  y = y > 1.f ? 1.f : y;
  y = a > 3.92f ? 1.f : y;
  return __builtin_copysignf(y, x);
}
[[gnu::always_inline]] inline double fast_erf(double x) { return __builtin_erf(x); }

// The standard normal density and distribution at x, of one exponential: the tail is the density's exponential times a
// polynomial in t = 1 / (1 + a |x|) (Abramowitz and Stegun 7.1.26), to 3e-7: 7e-8 of the formula, then rounding.
template <class T>
struct Normal {
  T density, below;
};
[[gnu::always_inline]] inline Normal<float> normal(float x) {
  const float a = magnitude(x), e = fast_exp(-0.5f * x * x);
  const float t = 1.f / mul_add(0.23164189f, a, 1.f);  // 0.3275911 / sqrt 2
  // The coefficients halved.
  const float p = polynomial(t, 0.5307027145f, -0.7265760135f, 0.7107068705f, -0.142248368f, 0.127414796f);
  const float tail = p * t * e;
  return {0.39894228f * e, x < 0 ? tail : 1.f - tail};
}
[[gnu::always_inline]] inline Normal<double> normal(double x) {
  return {0.3989422804014327 * __builtin_exp(-0.5 * x * x), 0.5 * (1 + __builtin_erf(x * 0.7071067811865476))};
}

}  // namespace effllm::EFFLLM_ISA
