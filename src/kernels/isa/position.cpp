// What depends on where an element stands: rotary embedding (Su et al. 2021) and dropout from counters.
#include "kernels/position.h"
#include "kernels/isa/random.h"

namespace effllm::EFFLLM_ISA {
namespace {

template <class T>
void rotate(View<const T> x, int64_t heads, int64_t head_dim, int64_t dim, const T* cosines, const T* sines,
            bool inverse, View<T> y, bool add) noexcept {
  const int64_t half = dim / 2;
  const T sign = inverse ? T(-1) : T(1), keep = add ? T(1) : T(0);
  for (int64_t r = 0; r < x.rows; ++r) {
    const T *cs = cosines + r * half, *sn = sines + r * half;
    for (int64_t h = 0; h < heads; ++h) {
      const T *a = x.row(r) + h * head_dim, *b = a + half;
      T *p = begun(y.row(r) + h * head_dim, head_dim, add), *q = p + half;
#pragma omp simd
      for (int64_t c = 0; c < half; ++c) {
        const T s = sign * sn[c], u = a[c], v = b[c];
        p[c] = mul_sub_from(v, s, mul_add(u, cs[c], keep * p[c]));
        q[c] = mul_add(u, s, mul_add(v, cs[c], keep * q[c]));
      }
      for (int64_t c = dim; c < head_dim; ++c) p[c] += a[c];
    }
  }
}

// Word w of counter {i, row, sample} decides element 4 i + w.
template <class T>
void dropout(View<const T> x, double p, uint32_t key0, uint32_t key1, int64_t sample0, int64_t row0,
             int64_t rows_per_sample, View<T> y, bool add) noexcept {
  constexpr int64_t kCounters = 8, kBlock = 4 * kCounters;
  const auto below = static_cast<uint32_t>(p * 4294967296.0);
  const T grow = static_cast<T>(1 / (1 - static_cast<double>(below) / 4294967296.0));
  for (int64_t r = 0; r < x.rows; ++r) {
    const auto sample = static_cast<uint64_t>(sample0 + r / rows_per_sample);
    const auto row = static_cast<uint32_t>(row0 + r % rows_per_sample);
    const T* a = x.row(r);
    T* o = y.row(r);
    for (int64_t c = 0; c < x.cols; c += kBlock) {
      uint32_t words[kBlock];
      philox_words<kCounters>(static_cast<uint32_t>(c / 4), row, static_cast<uint32_t>(sample),
                              static_cast<uint32_t>(sample >> 32), key0, key1, words);
      const int64_t n = smaller(kBlock, x.cols - c);
      if (add) {
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) o[c + i] += words[i] >= below ? a[c + i] * grow : T(0);
      } else {
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) o[c + i] = words[i] >= below ? a[c + i] * grow : T(0);
      }
    }
  }
}

}  // namespace

void fill_position() {
  EFFLLM_SET(rotate, rotate);
  EFFLLM_SET(dropout, dropout);
}

}  // namespace effllm::EFFLLM_ISA
