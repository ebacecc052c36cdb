// Test-time training of a linear model through LayerNorm, rows of one head: the inner gradient, its own gradient, and
// the lower triangle by which tokens of a mini-batch read one another. A row's arithmetic depends on no later row and
// not on how many rows there are.
#include "kernels/isa/simd.h"

namespace effllm::EFFLLM_ISA {
namespace {

template <class T>
T root(T x) {
  return sizeof(T) == 8 ? static_cast<T>(__builtin_sqrt(static_cast<double>(x)))
                        : static_cast<T>(__builtin_sqrtf(static_cast<float>(x)));
}

template <class T>
struct Moments {
  T mean, rstd;
};
template <class T>
Moments<T> moments(const T* x, int64_t n, T eps) {
  T mean = 0, var = 0;
#pragma omp simd reduction(+ : mean)
  for (int64_t c = 0; c < n; ++c) mean += x[c];
  mean /= static_cast<T>(n);
#pragma omp simd reduction(+ : var)
  for (int64_t c = 0; c < n; ++c) var += (x[c] - mean) * (x[c] - mean);
  return {mean, T(1) / root(var / static_cast<T>(n) + eps)};
}

// With h = (z - mean) r, e = weight h + bias - (v - k) and c = weight e: a = eta r (c - mean(c) - h mean(c h)).
template <class T>
void gradient(const TttRows<T>& x, View<T> a) noexcept {
  const int64_t n = x.z.cols;
  const T *weight = x.weight, *bias = x.bias, share = T(1) / static_cast<T>(n);
  for (int64_t t = 0; t < x.z.rows; ++t) {
    const T *z = x.z.row(t), *k = x.k.row(t), *v = x.v.row(t);
    T* y = a.row(t);
    const auto [mean, r] = moments(z, n, x.eps);
    T sum = 0, sum_h = 0;
#pragma omp simd reduction(+ : sum, sum_h)
    for (int64_t i = 0; i < n; ++i) {
      const T h = (z[i] - mean) * r, c = weight[i] * (weight[i] * h + bias[i] - v[i] + k[i]);
      y[i] = c;
      sum += c;
      sum_h += c * h;
    }
    const T step = *x.eta.row(t) * r, m1 = sum * share, m2 = sum_h * share;
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) y[i] = step * (y[i] - m1 - (z[i] - mean) * r * m2);
  }
}

// With s = eta r, g = d loss / d a, m1 = mean(c), m2 = mean(c h), n1 = mean(g), n2 = mean(g h), n3 = mean(g c):
//   d eta / n = r (n3 - m1 n1 - m2 n2)
//   d c = s (g - n1 - h n2);  d e = weight d c;  d weight = d c e + d e h;  d bias = d e
//   d h = weight d e - s (g m2 + c n2)
//   d z = r (d h - mean(d h) - h mean(d h h)) - r h eta (d eta / n), the last term through r itself
template <class T>
void gradient_backward(const TttRows<T>& x, const TttRowGradients<T>& g) noexcept {
  const int64_t n = x.z.cols;
  const T *weight = x.weight, *bias = x.bias, share = T(1) / static_cast<T>(n);
  for (int64_t t = 0; t < x.z.rows; ++t) {
    const T *z = x.z.row(t), *k = x.k.row(t), *v = x.v.row(t), *da = g.d_a.row(t);
    T *dz = g.d_z.row(t), *de = g.d_error.row(t), *dw = g.d_weight, *db = g.d_bias;
    const auto [mean, r] = moments(z, n, x.eps);
    T m1 = 0, m2 = 0, n1 = 0, n2 = 0, n3 = 0;
#pragma omp simd reduction(+ : m1, m2, n1, n2, n3)
    for (int64_t i = 0; i < n; ++i) {
      const T h = (z[i] - mean) * r, c = weight[i] * (weight[i] * h + bias[i] - v[i] + k[i]);
      m1 += c;
      m2 += c * h;
      n1 += da[i];
      n2 += da[i] * h;
      n3 += da[i] * c;
    }
    m1 *= share, m2 *= share, n1 *= share, n2 *= share, n3 *= share;
    const T eta = *x.eta.row(t), s = eta * r, d_eta = r * (n3 - m1 * n1 - m2 * n2);
    if (g.d_eta) {
      T& to = *g.d_eta.row(t);
      to = (g.add_eta ? to : T(0)) + d_eta * static_cast<T>(n);
    }
    T sum = 0, sum_h = 0;
#pragma omp simd reduction(+ : sum, sum_h)
    for (int64_t i = 0; i < n; ++i) {
      const T h = (z[i] - mean) * r, e = weight[i] * h + bias[i] - v[i] + k[i];
      const T dc = s * (da[i] - n1 - h * n2), d = weight[i] * dc;
      const T dh = weight[i] * d - s * (da[i] * m2 + weight[i] * e * n2);
      de[i] = d;
      dz[i] = dh;
      dw[i] += dc * e + d * h;
      db[i] += d;
      sum += dh;
      sum_h += dh * h;
    }
    const T a = sum * share, b = sum_h * share + eta * d_eta;
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) dz[i] = r * (dz[i] - a - (z[i] - mean) * r * b);
  }
}

// Columns [column, column + kVectors vectors) of all rows.
template <class T, int kVectors>
void read_columns(const TttRead<T>& x, int64_t column) {
  constexpr int64_t kLane = kLanes<T>;
  for (int64_t i = 0; i < x.y.rows; ++i) {
    const T* scores = x.scores.row(i);
    Vec<T> sum[kVectors];
#pragma GCC unroll 4
    for (int u = 0; u < kVectors; ++u) sum[u] = x.sum ? load(x.sum.row(i) + column + u * kLane) : Vec<T>{};
    for (int64_t j = 0; j <= i; ++j) {
      const T s = T(1) + scores[j], *a = x.a.row(j) + column;
#pragma GCC unroll 4
      for (int u = 0; u < kVectors; ++u) sum[u] += s * load(a + u * kLane);
    }
    const T tau = x.tau[i];
    T* y = x.y.row(i) + column;
#pragma GCC unroll 4
    for (int u = 0; u < kVectors; ++u)
      store(y + u * kLane, (load(y + u * kLane) + load(x.bias + column + u * kLane)) - tau * sum[u]);
  }
}

template <class T>
void read(const TttRead<T>& x) noexcept {
  constexpr int64_t kLane = kLanes<T>;
  const int64_t n = x.y.cols;
  int64_t c = 0;
  for (; c + 4 * kLane <= n; c += 4 * kLane) read_columns<T, 4>(x, c);
  for (; c + 2 * kLane <= n; c += 2 * kLane) read_columns<T, 2>(x, c);
  for (; c + kLane <= n; c += kLane) read_columns<T, 1>(x, c);
  for (; c < n; ++c)
    for (int64_t i = 0; i < x.y.rows; ++i) {
      T sum = x.sum ? x.sum.row(i)[c] : T(0);
      for (int64_t j = 0; j <= i; ++j) sum += (T(1) + x.scores.row(i)[j]) * x.a.row(j)[c];
      T& y = x.y.row(i)[c];
      y = (y + x.bias[c]) - x.tau[i] * sum;
    }
}

template <class T>
void fill_one(Kernels<T>& k) {
  k.ttt_gradient = gradient<T>;
  k.ttt_gradient_backward = gradient_backward<T>;
  k.ttt_read = read<T>;
}

}  // namespace

void fill_ttt(Kernels<float>& f, Kernels<double>& d) {
  fill_one(f);
  fill_one(d);
}

}  // namespace effllm::EFFLLM_ISA
