// Standard normals of base/random.h, many at a time: Philox, then Box and Muller with log, sin and cos in plain
// arithmetic, good to a few units in the last place of f64. Reductions, polynomials and their coefficients are fdlibm's
// (Sun 1993: e_log.c, k_sin.c, k_cos.c, e_rem_pio2.c).
#include "kernels/normals.h"

#include "kernels/isa/random.h"

namespace effllm::EFFLLM_ISA {
namespace {

constexpr int64_t kPairs = 8;

// An integer below 2^52 as a number: the low bits of 2^52 + x.
[[gnu::always_inline]] inline double small_integer(uint64_t x) {
  return std::bit_cast<double>(x | 0x4330000000000000u) - 0x1p52;
}

// x = m 2^e with m in [sqrt(1/2), sqrt(2)); log m by s = f / (2 + f), f = m - 1.
[[gnu::always_inline]] inline double log_of_normal(double x) {
  constexpr uint64_t kRootOfHalf = 0x3fe6a09e00000000u, kOne = 0x3ff0000000000000u;
  const uint64_t shifted = std::bit_cast<uint64_t>(x) + (kOne - kRootOfHalf);
  const double e = small_integer(shifted >> 52) - 1023;
  const double f = std::bit_cast<double>((shifted & 0x000fffffffffffffu) + kRootOfHalf) - 1;
  const double s = f / (2 + f), z = s * s, half = 0.5 * f * f;
  double p = 1.479819860511658591e-01;
  p = p * z + 1.531383769920937332e-01;
  p = p * z + 1.818357216161805012e-01;
  p = p * z + 2.222219843214978396e-01;
  p = p * z + 2.857142874366239149e-01;
  p = p * z + 3.999999999940941908e-01;
  p = p * z + 6.666666666666735130e-01;
  return e * 6.93147180369123816490e-01 - ((half - (s * (half + p * z) + e * 1.90821492927058770002e-10)) - f);
}

struct Circle {
  double cosine, sine;
};
// Of an angle in [0, 2 pi], less the nearest multiple q of pi/2, which is taken off in three parts.
[[gnu::always_inline]] inline Circle circle(double angle) {
  const double q = (angle * 6.36619772367581382433e-01 + 0x1.8p52) - 0x1.8p52;
  double r = angle - q * 1.57079632673412561417e+00;
  r = r - q * 6.07710050630396597660e-11;
  r = r - q * 2.02226624879595063154e-21;
  const double z = r * r, half = 0.5 * z;
  double s = 1.58969099521155010221e-10;
  s = s * z - 2.50507602534068634195e-08;
  s = s * z + 2.75573137070700676789e-06;
  s = s * z - 1.98412698298579493134e-04;
  s = s * z + 8.33333333332248946124e-03;
  s = s * z - 1.66666666666666324348e-01;
  const double sine = r + r * z * s;
  double c = -1.13596475577881948265e-11;
  c = c * z + 2.08757232129817482790e-09;
  c = c * z - 2.75573143513906633035e-07;
  c = c * z + 2.48015872894767294178e-05;
  c = c * z - 1.38888888888741095749e-03;
  c = c * z + 4.16666666666666019037e-02;
  const double w = 1 - half, cosine = w + (((1 - w) - half) + z * z * c);
  const bool odd = q == 1 || q == 3, left = q == 1 || q == 2, below = q == 2 || q == 3;
  const double a = odd ? sine : cosine, b = odd ? cosine : sine;
  return {left ? -a : a, below ? -b : b};
}

void normals(const uint32_t key[2], const uint32_t stream[2], uint64_t first, int64_t pairs, double* z) noexcept {
  for (int64_t i = 0; i < pairs; i += kPairs) {
    const uint64_t at = first + static_cast<uint64_t>(i);
    uint32_t words[4 * kPairs];
    philox_words<kPairs>(static_cast<uint32_t>(at), static_cast<uint32_t>(at >> 32), stream[0], stream[1], key[0],
                         key[1], words);
    double two[2 * kPairs];
#pragma omp simd
    for (int64_t j = 0; j < kPairs; ++j) {
      const uint32_t* w = words + 4 * j;
      const double u = (small_integer(uint64_t{w[0]} << 20 | w[1] >> 12) + 0.5) * 0x1p-52;
      const double v = small_integer(uint64_t{w[2]} << 20 | w[3] >> 12) * 0x1p-52;
      const double radius = __builtin_sqrt(-2 * log_of_normal(u));
      const Circle c = circle(6.28318530717958647693 * v);
      two[2 * j] = radius * c.cosine;
      two[2 * j + 1] = radius * c.sine;
    }
    const int64_t n = 2 * smaller(kPairs, pairs - i);
    for (int64_t j = 0; j < n; ++j) z[2 * i + j] = two[j];
  }
}

}  // namespace

void fill_normals() { kernel::normals.run = normals; }

}  // namespace effllm::EFFLLM_ISA
