// Normalisation of rows: root mean square (Zhang and Sennrich 2019) and layer norm (Ba et al. 2016).
#include "kernels/norm.h"
#include "kernels/isa/sums.h"

namespace effllm::EFFLLM_ISA {
namespace {

template <class T>
void rms_norm(View<const T> x, const T* weight, int64_t width, T eps, View<T> y, T* rstd) noexcept {
  const int64_t groups = x.cols / width;
  for (int64_t r = 0; r < x.rows; ++r)
    for (int64_t g = 0; g < groups; ++g) {
      const T* p = x.row(r) + g * width;
      T* o = y.row(r) + g * width;
      const T s = T(1) / root(dot(p, p, width) / static_cast<T>(width) + eps);
      rstd[r * groups + g] = s;
      if (weight) {
#pragma omp simd
        for (int64_t c = 0; c < width; ++c) o[c] = p[c] * s * weight[c];
      } else {
#pragma omp simd
        for (int64_t c = 0; c < width; ++c) o[c] = p[c] * s;
      }
    }
}

// With n = x * rstd and g = weight * dy: dx = rstd (g - n mean(g n)), dweight = sum dy n.
template <class T>
void rms_norm_backward(View<const T> x, const T* weight, int64_t width, const T* rstd, View<const T> dy, View<T> dx,
                       bool add_x, T* d_weight, bool add_w) noexcept {
  const int64_t groups = x.cols / width;
  if (d_weight) begun(d_weight, width, add_w);
  for (int64_t r = 0; r < x.rows; ++r)
    for (int64_t g = 0; g < groups; ++g) {
      const T *p = x.row(r) + g * width, *q = dy.row(r) + g * width;
      const T s = rstd[r * groups + g];
      const T mean = (weight ? dot(q, weight, p, width) : dot(p, q, width)) * (s * s * s / static_cast<T>(width));
      if (d_weight) {
#pragma omp simd
        for (int64_t c = 0; c < width; ++c) d_weight[c] = mul_add(q[c] * p[c], s, d_weight[c]);
      }
      if (!dx) continue;
      T* o = begun(dx.row(r) + g * width, width, add_x);
      const T keep = add_x ? T(1) : T(0);
      if (weight) {
#pragma omp simd
        for (int64_t c = 0; c < width; ++c) o[c] = mul_sub_from(p[c], mean, mul_add(keep, o[c], q[c] * weight[c] * s));
      } else {
#pragma omp simd
        for (int64_t c = 0; c < width; ++c) o[c] = mul_sub_from(p[c], mean, mul_add(keep, o[c], q[c] * s));
      }
    }
}

template <class T>
void layer_norm(View<const T> x, const T* weight, const T* bias, int64_t width, T eps, View<T> y, T* mean,
                T* rstd) noexcept {
  const int64_t groups = x.cols / width;
  for (int64_t r = 0; r < x.rows; ++r)
    for (int64_t g = 0; g < groups; ++g) {
      const T *p = x.row(r) + g * width, *w = weight + g * width;
      T* o = y.row(r) + g * width;
      Sum<T> sum, squares;
      each<T>(width, [&]<class V>(int64_t c) { sum.add(get<V>(p + c)); });
      const T m = sum.value() / static_cast<T>(width);
      each<T>(width, [&]<class V>(int64_t c) {
        const V x_c = get<V>(p + c) - m;
        squares.add(x_c, x_c);
      });
      const T s = T(1) / root(squares.value() / static_cast<T>(width) + eps);
      mean[r * groups + g] = m;
      rstd[r * groups + g] = s;
      if (bias) {
        const T* b = bias + g * width;
#pragma omp simd
        for (int64_t c = 0; c < width; ++c) o[c] = mul_add((p[c] - m) * s, w[c], b[c]);
      } else {
#pragma omp simd
        for (int64_t c = 0; c < width; ++c) o[c] = (p[c] - m) * s * w[c];
      }
    }
}

// With n = (x - mean) rstd and g = weight * dy: dx = rstd (g - mean(g) - n mean(g n)).
template <class T>
void layer_norm_backward(View<const T> x, const T* weight, int64_t width, const T* mean, const T* rstd,
                         View<const T> dy, View<T> dx, bool add_x, T* d_weight, bool add_w, T* d_bias,
                         bool add_b) noexcept {
  const int64_t groups = x.cols / width;
  if (d_weight) begun(d_weight, x.cols, add_w);
  if (d_bias) begun(d_bias, x.cols, add_b);
  for (int64_t r = 0; r < x.rows; ++r)
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t at = g * width;
      const T *p = x.row(r) + at, *q = dy.row(r) + at, *w = weight + at;
      const T m = mean[r * groups + g], s = rstd[r * groups + g];
      Sum<T> sum_g, sum_gn;
      each<T>(width, [&]<class V>(int64_t c) {
        const V gw = get<V>(q + c) * get<V>(w + c);
        sum_g.add(gw);
        sum_gn.add(gw, get<V>(p + c) - m);
      });
      if (d_weight) {
        T* d = d_weight + at;
#pragma omp simd
        for (int64_t c = 0; c < width; ++c) d[c] = mul_add(q[c] * (p[c] - m), s, d[c]);
      }
      if (d_bias) {
        T* d = d_bias + at;
#pragma omp simd
        for (int64_t c = 0; c < width; ++c) d[c] += q[c];
      }
      if (!dx) continue;
      const T a = sum_g.value() / static_cast<T>(width), b = sum_gn.value() * s * s / static_cast<T>(width);
      put_products(dx.row(r) + at, width, add_x, [=](int64_t c) {
        return Factors<T>{s, mul_sub_from(p[c] - m, b, q[c] * w[c] - a)};
      });
    }
}

}  // namespace

void fill_norm() {
  EFFLLM_SET(rms_norm, rms_norm);
  EFFLLM_SET(rms_norm_backward, rms_norm_backward);
  EFFLLM_SET(layer_norm, layer_norm);
  EFFLLM_SET(layer_norm_backward, layer_norm_backward);
}

}  // namespace effllm::EFFLLM_ISA
