// Test-time training of a linear model through LayerNorm, rows of one head: the inner gradient, its own gradient, and
// the lower triangle by which tokens of a mini-batch read one another. A row's arithmetic depends on no later row and
// not on how many rows there are.
#include "kernels/ttt.h"
#include "kernels/isa/sums.h"

namespace effllm::EFFLLM_ISA {
namespace {

template <class T>
struct Moments {
  T mean, rstd;
};
template <class T>
[[gnu::always_inline]] inline Moments<T> moments(const T* x, int64_t n, T share, T eps) {
  Sum<T> sum, squares;
  each<T>(n, [&]<class V>(int64_t i) { sum.add(get<V>(x + i)); });
  const T mean = sum.value() * share;
  each<T>(n, [&]<class V>(int64_t i) {
    const V d = get<V>(x + i) - mean;
    squares.add(d, d);
  });
  return {mean, T(1) / root(squares.value() * share + eps)};
}

// With h = (z - mean) r, e = weight h + bias - (v - k) and c = weight e: a = eta r (c - mean(c) - h mean(c h)).
template <class T>
void gradient(const TttRows<T>& x, View<T> a) noexcept {
  const int64_t n = x.z.cols;
  const T *weight = x.weight, *bias = x.bias, share = T(1) / static_cast<T>(n);
  for (int64_t t = 0; t < x.z.rows; ++t) {
    const T *z = x.z.row(t), *k = x.k.row(t), *v = x.v.row(t);
    T* y = a.row(t);
    const Moments<T> m = moments(z, n, share, x.eps);
    Sum<T> sum, sum_h;
    each<T>(n, [&]<class V>(int64_t i) {
      const V w = get<V>(weight + i), h = (get<V>(z + i) - m.mean) * m.rstd;
      const V c = w * (mul_add(w, h, get<V>(bias + i)) - get<V>(v + i) + get<V>(k + i));
      put(y + i, c);
      sum.add(c);
      sum_h.add(c, h);
    });
    const T step = *x.eta.row(t) * m.rstd, m1 = sum.value() * share, m2 = sum_h.value() * share;
    each<T>(n, [&]<class V>(int64_t i) {
      put(y + i, step * (get<V>(y + i) - m1 - (get<V>(z + i) - m.mean) * m.rstd * m2));
    });
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
  T *dw = g.d_weight, *db = g.d_bias;
  for (int64_t t = 0; t < x.z.rows; ++t) {
    const T *z = x.z.row(t), *k = x.k.row(t), *v = x.v.row(t), *da = g.d_a.row(t);
    T *dz = g.d_z.row(t), *de = g.d_error.row(t);
    const Moments<T> m = moments(z, n, share, x.eps);
    const T mean = m.mean, r = m.rstd;
    Sum<T> c_sum, ch_sum, g_sum, gh_sum, gc_sum;
    each<T>(n, [&]<class V>(int64_t i) {
      const V w = get<V>(weight + i), h = (get<V>(z + i) - mean) * r, d = get<V>(da + i);
      const V c = w * (mul_add(w, h, get<V>(bias + i)) - get<V>(v + i) + get<V>(k + i));
      c_sum.add(c);
      ch_sum.add(c, h);
      g_sum.add(d);
      gh_sum.add(d, h);
      gc_sum.add(d, c);
    });
    const T m1 = c_sum.value() * share, m2 = ch_sum.value() * share, n1 = g_sum.value() * share,
            n2 = gh_sum.value() * share, n3 = gc_sum.value() * share;
    const T eta = *x.eta.row(t), s = eta * r, d_eta = r * (n3 - m1 * n1 - m2 * n2);
    if (g.d_eta) {
      T& to = *g.d_eta.row(t);
      to = (g.add_eta ? to : T(0)) + d_eta * static_cast<T>(n);
    }
    Sum<T> sum, sum_h;
    each<T>(n, [&]<class V>(int64_t i) {
      const V w = get<V>(weight + i), h = (get<V>(z + i) - mean) * r, d = get<V>(da + i);
      const V e = mul_add(w, h, get<V>(bias + i)) - get<V>(v + i) + get<V>(k + i);
      const V dc = s * (d - n1 - h * n2), error = w * dc, dh = w * error - s * (d * m2 + w * e * n2);
      put(de + i, error);
      put(dz + i, dh);
      put(dw + i, mul_add(error, h, mul_add(dc, e, get<V>(dw + i))));
      put(db + i, get<V>(db + i) + error);
      sum.add(dh);
      sum_h.add(dh, h);
    });
    const T p = sum.value() * share, q = sum_h.value() * share + eta * d_eta;
    each<T>(n, [&]<class V>(int64_t i) { put(dz + i, r * (get<V>(dz + i) - p - (get<V>(z + i) - mean) * r * q)); });
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
      for (int u = 0; u < kVectors; ++u) sum[u] = mul_add(s, load(a + u * kLane), sum[u]);
    }
    const T tau = x.tau[i];
    T* y = x.y.row(i) + column;
#pragma GCC unroll 4
    for (int u = 0; u < kVectors; ++u)
      store(y + u * kLane, mul_sub_from(tau, sum[u], load(y + u * kLane) + load(x.bias + column + u * kLane)));
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
      for (int64_t j = 0; j <= i; ++j) sum = mul_add(T(1) + x.scores.row(i)[j], x.a.row(j)[c], sum);
      T& y = x.y.row(i)[c];
      y = mul_sub_from(x.tau[i], sum, y + x.bias[c]);
    }
}

}  // namespace

void fill_ttt() {
  EFFLLM_SET(ttt_gradient, gradient);
  EFFLLM_SET(ttt_gradient_backward, gradient_backward);
  EFFLLM_SET(ttt_read, read);
}

}  // namespace effllm::EFFLLM_ISA
