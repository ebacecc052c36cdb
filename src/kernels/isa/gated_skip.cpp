// y = (o + d x) silu(z) with a number d for each group of columns, and its gradients.
#include "kernels/gated_skip.h"
#include "kernels/isa/math.h"
#include "kernels/isa/sums.h"

namespace effllm::EFFLLM_ISA {
namespace {

template <class T>
void gated_skip(View<const T> o, View<const T> x, View<const T> z, const T* d, int64_t groups, View<T> y) noexcept {
  const int64_t width = o.cols / groups;
  for (int64_t r = 0; r < o.rows; ++r)
    for (int64_t g = 0; g < groups; ++g) {
      const T *or_ = o.row(r) + g * width, *xr = x.row(r) + g * width, *zr = z.row(r) + g * width;
      T* yr = y.row(r) + g * width;
      const T skip = d[g];
#pragma omp simd
      for (int64_t c = 0; c < width; ++c) yr[c] = mul_add(skip, xr[c], or_[c]) * zr[c] * sigmoid(zr[c]);
    }
}

// With s = sigmoid(z) and h = dy z s: do = h, dx = d h, dd = sum h x, dz = dy (o + d x) s (1 + z (1 - s)).
template <class T>
void gated_skip_backward(const GatedSkipBackward<T>& p) noexcept {
  const int64_t width = p.o.cols / p.groups;
  const T keep_o = p.add_o ? T(1) : T(0), keep_x = p.add_x ? T(1) : T(0), keep_z = p.add_z ? T(1) : T(0);
  constexpr int64_t kBlock = 256;
  alignas(64) T s[kBlock], h[kBlock];
  if (p.d_d) begun(p.d_d, p.groups, p.add_d);
  for (int64_t r = 0; r < p.o.rows; ++r)
    for (int64_t g = 0; g < p.groups; ++g) {
      const T skip = p.d[g];
      for (int64_t from = 0; from < width; from += kBlock) {
        const int64_t n = smaller(kBlock, width - from), at = g * width + from;
        const T *o = p.o.row(r) + at, *x = p.x.row(r) + at, *z = p.z.row(r) + at, *dy = p.dy.row(r) + at;
#pragma omp simd
        for (int64_t c = 0; c < n; ++c) {
          s[c] = sigmoid(z[c]);
          h[c] = dy[c] * z[c] * s[c];
        }
        if (p.d_o) {
          T* y = begun(p.d_o.row(r) + at, n, p.add_o);
#pragma omp simd
          for (int64_t c = 0; c < n; ++c) y[c] = mul_add(keep_o, y[c], h[c]);
        }
        if (p.d_x) {
          T* y = begun(p.d_x.row(r) + at, n, p.add_x);
#pragma omp simd
          for (int64_t c = 0; c < n; ++c) y[c] = mul_add(keep_x, y[c], skip * h[c]);
        }
        if (p.d_z) {
          T* y = begun(p.d_z.row(r) + at, n, p.add_z);
#pragma omp simd
          for (int64_t c = 0; c < n; ++c)
            y[c] = mul_add(keep_z, y[c], dy[c] * mul_add(skip, x[c], o[c]) * s[c] * mul_add(z[c], T(1) - s[c], T(1)));
        }
        if (p.d_d) p.d_d[g] += dot(h, x, n);
      }
    }
}

}  // namespace

void fill_gated_skip() {
  EFFLLM_SET(gated_skip, gated_skip);
  EFFLLM_SET(gated_skip_backward, gated_skip_backward);
}

}  // namespace effllm::EFFLLM_ISA
