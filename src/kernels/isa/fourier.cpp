// Convolutions along time by Fourier transforms, kLanes columns side by side: every butterfly is a vector operation.
// Forward, radix 4 (and one radix 2 where log2 n is odd) leaves the spectrum in the order of its reversed digits, which
// the mirrored inverse takes in: nothing is ever put in order.
#include "kernels/fourier.h"
#include "kernels/isa/complex.h"
#include "kernels/isa/lanes.h"

namespace effllm::EFFLLM_ISA {
namespace {

// A point: kLanes real parts, then kLanes imaginary ones.
template <class T>
[[gnu::always_inline]] inline Complex<T> point(const T* x) {
  return complex_at(x, kLanes<T>);
}
template <class T>
[[gnu::always_inline]] inline void put(T* x, Complex<T> p) {
  store_complex(x, kLanes<T>, p);
}
template <class T>
[[gnu::always_inline]] inline Complex<T> plus(Complex<T> a, Complex<T> b) {
  return {a.re + b.re, a.im + b.im};
}
template <class T>
[[gnu::always_inline]] inline Complex<T> minus(Complex<T> a, Complex<T> b) {
  return {a.re - b.re, a.im - b.im};
}
template <class T>
[[gnu::always_inline]] inline Complex<T> times_i(Complex<T> a) {
  return {-a.im, a.re};
}
// a w, or a conj(w).
template <bool kConjugate, class T>
[[gnu::always_inline]] inline Complex<T> turned(Complex<T> a, const T* w) {
  const T re = w[0], im = kConjugate ? -w[1] : w[1];
  return {mul_sub_from(im, a.im, re * a.re), mul_add(im, a.re, re * a.im)};
}

// x[k], x[k + q], x[k + 2q], x[k + 3q] become the points k of four transforms of a quarter of the length.
template <class T>
void forward(T* x, int64_t n, const T* turns) {
  constexpr int64_t v = 2 * kLanes<T>;
  int64_t m = n;
  for (int64_t step = 1; m >= 4; m /= 4, step *= 4) {
    const int64_t q = m / 4 * v;
    for (int64_t k = 0; k < m / 4; ++k) {
      const T *w1 = turns + 2 * k * step, *w2 = turns + 4 * k * step, *w3 = turns + 6 * k * step;
      for (T* p = x + k * v; p < x + n * v; p += m * v) {
        const Complex<T> a = point(p), b = point(p + q), c = point(p + 2 * q), d = point(p + 3 * q);
        const Complex<T> s = plus(a, c), t = minus(a, c), u = plus(b, d), r = times_i(minus(d, b));
        put(p, plus(s, u));
        put(p + q, turned<false>(plus(t, r), w1));
        put(p + 2 * q, turned<false>(minus(s, u), w2));
        put(p + 3 * q, turned<false>(minus(t, r), w3));
      }
    }
  }
  if (m == 2)
    for (T* p = x; p < x + n * v; p += 2 * v) {
      const Complex<T> a = point(p), b = point(p + v);
      put(p, plus(a, b));
      put(p + v, minus(a, b));
    }
}

template <class T>
void inverse(T* x, int64_t n, const T* turns) {  // times n
  constexpr int64_t v = 2 * kLanes<T>;
  int64_t m = 1, step = n;
  while (m * 4 <= n) m *= 4;
  if (m < n) {
    for (T* p = x; p < x + n * v; p += 2 * v) {
      const Complex<T> a = point(p), b = point(p + v);
      put(p, plus(a, b));
      put(p + v, minus(a, b));
    }
    m = 8;
  } else {
    m = 4;
  }
  for (step = n / m; m <= n; m *= 4, step /= 4) {
    const int64_t q = m / 4 * v;
    for (int64_t k = 0; k < m / 4; ++k) {
      const T *w1 = turns + 2 * k * step, *w2 = turns + 4 * k * step, *w3 = turns + 6 * k * step;
      for (T* p = x + k * v; p < x + n * v; p += m * v) {
        const Complex<T> a = point(p), b = turned<true>(point(p + q), w1), c = turned<true>(point(p + 2 * q), w2),
                         d = turned<true>(point(p + 3 * q), w3);
        const Complex<T> s = plus(a, c), u = minus(a, c), t = plus(b, d), r = times_i(minus(b, d));
        put(p, plus(s, t));
        put(p + q, plus(u, r));
        put(p + 2 * q, minus(s, t));
        put(p + 3 * q, minus(u, r));
      }
    }
  }
}

template <class T>
void to_spectrum(View<const T> re, View<const T> im, int64_t n, const T* turns, T* x) noexcept {
  for (int64_t t = 0; t < n; ++t) {
    T* const p = x + t * 2 * kLanes<T>;
    store<T>(p, t < re.rows ? load_some(re.row(t), re.cols) : Vec<T>{});
    store<T>(p + kLanes<T>, im && t < im.rows ? load_some(im.row(t), im.cols) : Vec<T>{});
  }
  forward(x, n, turns);
}

template <class T>
void from_spectrum(T* x, int64_t n, const T* turns, View<T> re, View<T> im, bool add) noexcept {
  inverse(x, n, turns);
  const T factor = T(1) / static_cast<T>(n);
  for (int64_t t = 0; t < re.rows; ++t) put_some<T>(re.row(t), factor * load(x + t * 2 * kLanes<T>), re.cols, add);
  for (int64_t t = 0; im && t < im.rows; ++t)
    put_some<T>(im.row(t), factor * load(x + (2 * t + 1) * kLanes<T>), im.cols, add);
}

template <class T>
void multiply_spectra(T* x, const T* k, bool conjugate, int64_t n) noexcept {
  const T sign = conjugate ? T(-1) : T(1);
  for (int64_t i = 0; i < n * 2 * kLanes<T>; i += 2 * kLanes<T>) {
    const Complex<T> a = point(x + i), b = point(k + i);
    const Vec<T> im = sign * b.im;
    put(x + i, times<T>(a, Complex<T>{b.re, im}));
  }
}

template <class T>
void correlate_spectra(const T* a, const T* b, T* sum, bool add, int64_t n) noexcept {
  for (int64_t i = 0; i < n * 2 * kLanes<T>; i += 2 * kLanes<T>) {
    const Complex<T> p = point(a + i), q = point(b + i);
    const Complex<T> product = times_conjugate<T>(q, p);
    put(sum + i, add ? plus(point<T>(sum + i), product) : product);
  }
}

// Sums run over s upwards at every t: what comes after a token does not touch it.
template <class T>
void direct_conv(View<const T> u, View<const T> k, View<T> y) noexcept {
  for (int64_t c = 0; c < u.cols; c += kLanes<T>) {
    const int64_t n = smaller(kLanes<T>, u.cols - c);
    for (int64_t t = 0; t < u.rows; ++t) {
      Vec<T> sum{};
      for (int64_t s = 0; s <= t; ++s) sum = mul_add(load_some(k.row(t - s) + c, n), load_some(u.row(s) + c, n), sum);
      store_some<T>(y.row(t) + c, sum, n);
    }
  }
}

template <class T>
void direct_conv_backward(View<const T> u, View<const T> k, View<const T> d_y, View<T> d_u, bool add_u,
                          View<T> d_k) noexcept {
  for (int64_t c = 0; c < u.cols; c += kLanes<T>) {
    const int64_t n = smaller(kLanes<T>, u.cols - c);
    for (int64_t t = 0; t < u.rows; ++t) {
      Vec<T> to_u{}, to_k{};
      for (int64_t s = t; s < u.rows; ++s) {
        const Vec<T> d = load_some(d_y.row(s) + c, n);
        if (d_u) to_u = mul_add(d, load_some(k.row(s - t) + c, n), to_u);
        if (d_k) to_k = mul_add(d, load_some(u.row(s - t) + c, n), to_k);
      }
      if (d_u) put_some<T>(d_u.row(t) + c, to_u, n, add_u);
      if (d_k) put_some<T>(d_k.row(t) + c, to_k, n, true);
    }
  }
}

template <class T>
int64_t lanes() noexcept {
  return kLanes<T>;
}

}  // namespace

void fill_fourier() {
  EFFLLM_SET(lanes, lanes);
  EFFLLM_SET(to_spectrum, to_spectrum);
  EFFLLM_SET(from_spectrum, from_spectrum);
  EFFLLM_SET(multiply_spectra, multiply_spectra);
  EFFLLM_SET(correlate_spectra, correlate_spectra);
  EFFLLM_SET(direct_conv, direct_conv);
  EFFLLM_SET(direct_conv_backward, direct_conv_backward);
}

}  // namespace effllm::EFFLLM_ISA
