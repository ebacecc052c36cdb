// What surrounds the recurrence of linear attention, for one head of one sequence: the sum of keys that normalises, the
// bonus of the current token, and Taylor features.
#include "kernels/linear_attention.h"
#include "kernels/isa/sums.h"

namespace effllm::EFFLLM_ISA {
namespace {

// y += f x
template <class T>
void add_scaled(T f, const T* x, T* y, int64_t n) {
#pragma omp simd
  for (int64_t c = 0; c < n; ++c) y[c] = mul_add(f, x[c], y[c]);
}
template <class T>
void clear(T* y, int64_t n) {
  for (int64_t c = 0; c < n; ++c) y[c] = 0;
}

template <class T>
void normaliser(const Normaliser<T>& p, View<T> y, T* z) noexcept {
  const int64_t keys = p.q.cols;
  for (int64_t t = 0; t < p.q.rows; ++t) {
    if (p.starts && p.starts[t]) clear(z, keys);
    add_scaled(T(1), p.k.row(t), z, keys);
    const T r = T(1) / (dot(p.q.row(t), z, keys) + p.eps);
    *p.inverse.row(t) = r;
    const T* o = p.o.row(t);
    T* yt = y.row(t);
#pragma omp simd
    for (int64_t c = 0; c < p.o.cols; ++c) yt[c] = r * o[c];
  }
}

// With r = 1 / (q.z + eps) and e = d(q.z) = -r^2 dy.o: do = r dy, dq = e z, dk = the sum of e q from here on.
template <class T>
void normaliser_backward(const Normaliser<T>& p, const NormaliserBackward<T>& g) noexcept {
  const int64_t keys = p.q.cols, tokens = p.q.rows;
  for (int64_t t = 0; t < tokens; ++t) {
    const T r = *p.inverse.row(t), e = -r * r * dot(g.dy.row(t), p.o.row(t), p.o.cols);
    g.e[t] = e;
    if (g.d_o) add_scaled(r, g.dy.row(t), begun(g.d_o.row(t), p.o.cols, g.add_o), p.o.cols);
    if (!g.d_q) continue;
    if (p.starts && p.starts[t]) clear(g.z, keys);
    add_scaled(T(1), p.k.row(t), g.z, keys);
    T* y = begun(g.d_q.row(t), keys, g.add_q);
    add_scaled(e, g.z, y, keys);
  }
  for (int64_t t = tokens - 1; t >= 0; --t) {
    add_scaled(g.e[t], p.q.row(t), g.d_z, keys);
    if (g.d_k) add_scaled(T(1), g.d_z, begun(g.d_k.row(t), keys, g.add_k), keys);
    if (p.starts && p.starts[t]) clear(g.d_z, keys);
  }
}

template <class T>
void bonus(const Bonus<T>& p, View<const T> o, View<T> y) noexcept {
  for (int64_t t = 0; t < p.q.rows; ++t) {
    const T *q = p.q.row(t), *k = p.k.row(t), *v = p.v.row(t), *from = o.row(t);
    const T s = dot(q, p.u, k, p.q.cols);
    T* to = y.row(t);
#pragma omp simd
    for (int64_t c = 0; c < p.v.cols; ++c) to[c] = mul_add(s, v[c], from[c]);
  }
}

// With s = sum q u k and e = dy.v: dv = s dy, dq = e u k, dk = e u q, du = sum of e q k.
template <class T>
void bonus_backward(const Bonus<T>& p, const BonusBackward<T>& g) noexcept {
  const int64_t keys = p.q.cols, values = p.v.cols;
  for (int64_t t = 0; t < p.q.rows; ++t) {
    const T *q = p.q.row(t), *k = p.k.row(t), *dy = g.dy.row(t), e = dot(dy, p.v.row(t), values);
    if (g.d_v) {
      const T s = dot(q, p.u, k, keys);
      add_scaled(s, dy, begun(g.d_v.row(t), values, g.add_v), values);
    }
    if (g.d_q) {
      T* y = begun(g.d_q.row(t), keys, g.add_q);
#pragma omp simd
      for (int64_t c = 0; c < keys; ++c) y[c] = mul_add(e * p.u[c], k[c], y[c]);
    }
    if (g.d_k) {
      T* y = begun(g.d_k.row(t), keys, g.add_k);
#pragma omp simd
      for (int64_t c = 0; c < keys; ++c) y[c] = mul_add(e * p.u[c], q[c], y[c]);
    }
    if (g.d_u) {
#pragma omp simd
      for (int64_t c = 0; c < keys; ++c) g.d_u[c] = mul_add(e * q[c], k[c], g.d_u[c]);
    }
  }
}

// (1, a x_i, then for each i: b x_i^2 / sqrt 2, b x_i x_j for j > i), a = f^-1/4, b = f^-1/2.
template <class T>
void taylor_features(View<const T> x, T a, T b, T half, View<T> y) noexcept {
  const int64_t f = x.cols;
  for (int64_t r = 0; r < x.rows; ++r) {
    const T* p = x.row(r);
    T* o = y.row(r);
    o[0] = 1;
#pragma omp simd
    for (int64_t c = 0; c < f; ++c) o[1 + c] = a * p[c];
    o += 1 + f;
    for (int64_t i = 0; i < f; o += f - i, ++i) {
      const T s = b * p[i];
#pragma omp simd
      for (int64_t c = 0; c < f - i; ++c) o[c] = s * p[i + c];
      o[0] *= half;
    }
  }
}

template <class T>
void taylor_features_backward(View<const T> x, T a, T b, T half, View<const T> dy, View<T> dx, bool add) noexcept {
  const int64_t f = x.cols;
  for (int64_t r = 0; r < x.rows; ++r) {
    const T *p = x.row(r), *g = dy.row(r);
    T* o = begun(dx.row(r), f, add);
#pragma omp simd
    for (int64_t c = 0; c < f; ++c) o[c] = mul_add(a, g[1 + c], o[c]);
    g += 1 + f;
    for (int64_t i = 0; i < f; g += f - i, ++i) {
      const int64_t n = f - i - 1;
      const T s = b * p[i];
      o[i] += T(2) * half * s * g[0] + b * dot(g + 1, p + i + 1, n);
      add_scaled(s, g + 1, o + i + 1, n);
    }
  }
}

}  // namespace

void fill_linear_attention() {
  EFFLLM_SET(normaliser, normaliser);
  EFFLLM_SET(normaliser_backward, normaliser_backward);
  EFFLLM_SET(bonus, bonus);
  EFFLLM_SET(bonus_backward, bonus_backward);
  EFFLLM_SET(taylor_features, taylor_features);
  EFFLLM_SET(taylor_features_backward, taylor_features_backward);
}

}  // namespace effllm::EFFLLM_ISA
