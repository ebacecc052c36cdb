// Each token mixed with the one before it: y_i = x_t + (x_{t-1} - x_t) (mix_i + m_i,t) for several i, and its
// gradients.
#include "kernels/token_mix.h"
#include "kernels/isa/simd.h"

namespace effllm::EFFLLM_ISA {
namespace {

// The row before token t, null for nothing.
template <class T>
const T* row_before(const TokenMix<T>& p, int64_t t) {
  if (p.starts && p.starts[t]) return nullptr;
  return t > 0 ? p.x.row(t - 1) : p.before;
}

template <class T>
void token_mix(const TokenMix<T>& p, View<T> out) noexcept {
  const int64_t n = p.x.cols;
  for (int64_t t = 0; t < p.x.rows; ++t) {
    const T *x = p.x.row(t), *before = row_before(p, t);
    const T known = before ? T(1) : T(0);
    if (!before) before = x;
    for (int64_t i = 0; i < p.parts; ++i) {
      const T* mix = p.mix + i * p.mix_stride;
      T* y = out.row(t) + i * p.step;
      if (p.m) {
        const T* m = p.m.row(t) + i * p.step;
#pragma omp simd
        for (int64_t c = 0; c < n; ++c) y[c] = mul_add(known * before[c] - x[c], mix[c] + m[c], x[c]);
      } else {
#pragma omp simd
        for (int64_t c = 0; c < n; ++c) y[c] = mul_add(known * before[c] - x[c], mix[c], x[c]);
      }
    }
  }
}

// Backwards in time: token t takes sum dy (1 - w), and from token t + 1 the sum of its dy w.
template <class T>
void token_mix_backward(const TokenMix<T>& p, const TokenMixBackward<T>& g) noexcept {
  const int64_t n = p.x.cols;
  alignas(64) T carry[kTokenMixColumns], moved[kTokenMixColumns], all[kTokenMixColumns];
  for (int64_t c = 0; c < n; ++c) carry[c] = g.d_last ? g.d_last[c] : T(0);
  for (int64_t t = p.x.rows - 1; t >= 0; --t) {
    const T *x = p.x.row(t), *before = row_before(p, t);
    const T known = before ? T(1) : T(0);
    if (!before) before = x;
    for (int64_t c = 0; c < n; ++c) moved[c] = all[c] = 0;
    for (int64_t i = 0; i < p.parts; ++i) {
      const T *mix = p.mix + i * p.mix_stride, *dy = g.dy.row(t) + i * p.step;
      const T* m = p.m ? p.m.row(t) + i * p.step : nullptr;
      if (m) {
#pragma omp simd
        for (int64_t c = 0; c < n; ++c) {
          all[c] += dy[c];
          moved[c] = mul_add(dy[c], mix[c] + m[c], moved[c]);
        }
      } else {
#pragma omp simd
        for (int64_t c = 0; c < n; ++c) {
          all[c] += dy[c];
          moved[c] = mul_add(dy[c], mix[c], moved[c]);
        }
      }
      if (g.d_m) {
        T* y = begun(g.d_m.row(t) + i * p.step, n, g.add_m);
#pragma omp simd
        for (int64_t c = 0; c < n; ++c) y[c] = mul_add(dy[c], known * before[c] - x[c], y[c]);
      }
      if (g.d_mix) {
        T* y = g.d_mix + i * g.d_mix_stride;
#pragma omp simd
        for (int64_t c = 0; c < n; ++c) y[c] = mul_add(dy[c], known * before[c] - x[c], y[c]);
      }
    }
    if (g.d_x) {
      T* y = begun(g.d_x.row(t), n, g.add_x);
#pragma omp simd
      for (int64_t c = 0; c < n; ++c) y[c] += all[c] - moved[c] + carry[c];
    }
    for (int64_t c = 0; c < n; ++c) carry[c] = known * moved[c];
  }
  if (!g.d_before) return;
  for (int64_t c = 0; c < n; ++c) g.d_before[c] = (g.add_before ? g.d_before[c] : T(0)) + carry[c];
}

}  // namespace

void fill_token_mix() {
  EFFLLM_SET(token_mix, token_mix);
  EFFLLM_SET(token_mix_backward, token_mix_backward);
}

}  // namespace effllm::EFFLLM_ISA
