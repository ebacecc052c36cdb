// What depends on where an element stands: rotary embedding (Su et al. 2021) and dropout from counters.
#include "kernels/isa/simd.h"

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
      T *p = y.row(r) + h * head_dim, *q = p + half;
      if (!add)
        for (int64_t c = 0; c < head_dim; ++c) p[c] = 0;
#pragma omp simd
      for (int64_t c = 0; c < half; ++c) {
        const T s = sign * sn[c], u = a[c], v = b[c];
        p[c] = keep * p[c] + u * cs[c] - v * s;
        q[c] = keep * q[c] + v * cs[c] + u * s;
      }
      for (int64_t c = dim; c < head_dim; ++c) p[c] += a[c];
    }
  }
}

// Philox 4x32-10, one counter a lane; word w of counter {i, row, sample, 0} decides element 4 i + w.
struct Words {
  uint32_t w[4];
};
[[gnu::always_inline]] inline Words philox(uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3, uint32_t k0,
                                           uint32_t k1) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53} * c0, p1 = uint64_t{0xCD9E8D57} * c2;
    c0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0;
    c1 = static_cast<uint32_t>(p1);
    c2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c3 = static_cast<uint32_t>(p0);
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  return {{c0, c1, c2, c3}};
}

template <class T>
void dropout(View<const T> x, double p, uint32_t key0, uint32_t key1, int64_t sample0, int64_t row0,
             int64_t rows_per_sample, View<T> y, bool add) noexcept {
  const auto below = static_cast<uint32_t>(p * 4294967296.0);
  const T grow = static_cast<T>(1 / (1 - static_cast<double>(below) / 4294967296.0)), keep = add ? T(1) : T(0);
  for (int64_t r = 0; r < x.rows; ++r) {
    const auto sample = static_cast<uint64_t>(sample0 + r / rows_per_sample);
    const auto row = static_cast<uint32_t>(row0 + r % rows_per_sample);
    const auto s0 = static_cast<uint32_t>(sample), s1 = static_cast<uint32_t>(sample >> 32);
    const T* a = x.row(r);
    T* o = y.row(r);
    constexpr int64_t kBlock = 16;  // counters at a time
    for (int64_t c = 0; c < x.cols; c += 4 * kBlock) {
      uint32_t words[4][kBlock];
#pragma omp simd
      for (int64_t i = 0; i < kBlock; ++i) {
        const Words w = philox(static_cast<uint32_t>(c / 4 + i), row, s0, s1, key0, key1);
        words[0][i] = w.w[0];
        words[1][i] = w.w[1];
        words[2][i] = w.w[2];
        words[3][i] = w.w[3];
      }
      const int64_t n = smaller(4 * kBlock, x.cols - c);
      for (int64_t i = 0; i < n; ++i) {
        const T kept = words[i % 4][i / 4] >= below ? a[c + i] * grow : T(0);
        o[c + i] = add ? keep * o[c + i] + kept : kept;
      }
    }
  }
}

template <class T>
void fill_one(Kernels<T>& k) {
  k.rotate = rotate<T>;
  k.dropout = dropout<T>;
}

}  // namespace

void fill_position(Kernels<float>& f, Kernels<double>& d) {
  fill_one(f);
  fill_one(d);
}

}  // namespace effllm::EFFLLM_ISA
