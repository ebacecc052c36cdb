// 2^x of a vector, for x <= 0: what decays are made of. Errors beside that of the argument: 1 ulp; below the smallest
// normal number 0, -inf included.
#pragma once
#include "kernels/isa/polynomial.h"
#include "kernels/isa/simd.h"

namespace effllm::EFFLLM_ISA {

inline constexpr double kLog2E = 1.4426950408889634;

// x = n + f with |f| <= 1/2, a polynomial for 2^f, and 2^n by its exponent bits: none where n is the lowest, which is
// 0.
[[gnu::always_inline]] inline Vec<float> exp2_of_negative(Vec<float> x) {
  typedef uint32_t Bits __attribute__((vector_size(EFFLLM_VECTOR_BYTES)));
  const Vec<float> low = broadcast(-127.f);
  x = x > low ? x : low;
  const Vec<float> shifted = x + 12582912.f, f = x - (shifted - 12582912.f);  // n: nearest integer, in low bits
  const Vec<float> p = polynomial(f, broadcast(1.535336188e-4f), 1.339887440e-3f, 9.618437357e-3f, 5.550332471e-2f,
                                  2.402264791e-1f, 6.931472028e-1f, 1.f);
  return p * (Vec<float>)(((Bits)shifted + 127u) << 23);
}
[[gnu::always_inline]] inline Vec<double> exp2_of_negative(Vec<double> x) {
  typedef uint64_t Bits __attribute__((vector_size(EFFLLM_VECTOR_BYTES)));
  const Vec<double> low = broadcast(-1023.0);
  x = x > low ? x : low;
  const Vec<double> shifted = x + 6755399441055744.0, f = (x - (shifted - 6755399441055744.0)) * 0.6931471805599453;
  // e^f by its series: |f| <= log(2) / 2.
  const Vec<double> p =
      polynomial(f, broadcast(1.0 / 6227020800), 1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880,
                 1.0 / 40320, 1.0 / 5040, 1.0 / 720, 1.0 / 120, 1.0 / 24, 1.0 / 6, 0.5, 1.0, 1.0);
  return p * (Vec<double>)(((Bits)shifted + 1023u) << 52);
}

}  // namespace effllm::EFFLLM_ISA
