// The impulse response of state spaces with constant complex decays. That of token l = a S + b is
// sum_p Re((e w^(aS)) w^b): two tables of powers, each of about sqrt(T) rows, and a product between them.
#include "kernels/isa/complex.h"
#include "kernels/isa/lanes.h"
#include "kernels/modal.h"

namespace effllm::EFFLLM_ISA {
namespace {

constexpr int64_t kTall = 4, kWide = 2;  // of a tile of sums in registers

// Rows of the table of small powers: the power of two next to sqrt(T).
int64_t small_powers(int64_t tokens) {
  int64_t s = kTall;
  while (s * s < tokens) s *= 2;
  return s;
}

// Tables of [2P] vectors a row, the imaginary parts of the large one negated, so that the response is their product;
// and what backward needs of the same sizes.
template <class T>
struct Powers {
  int64_t rows, im, one, few, many;  // few * many >= T, both multiples of kTall
  T *w, *e, *step, *large, *small, *to_large, *to_small, *signal;
  Powers(int64_t pairs, int64_t tokens, T* p)
      : rows(2 * pairs),
        im(pairs * kLanes<T>),
        one(rows * kLanes<T>),
        few(small_powers(tokens)),
        many((tokens + few * kTall - 1) / (few * kTall) * kTall) {
    w = p;
    e = w + one;
    step = e + one;
    large = step + one;
    small = large + many * one;
    to_large = small + few * one;
    to_small = to_large + many * one;
    signal = to_small + few * one;
  }
  int64_t size() const { return (3 + 2 * (many + few)) * one + many * few * kLanes<T>; }

  // step: w^few.
  void fill(View<const T> decay, View<const T> read, int64_t c, int64_t n) const {
    load_rows<T>(decay, rows, c, n, T(1), w);
    load_rows<T>(read, rows, c, n, T(1), e);
    for (int64_t i = 0; i < im; i += kLanes<T>) {
      const Complex<T> turn = complex_at(w + i, im);
      Complex<T> x = {broadcast(T(1)), Vec<T>{}};
      for (int64_t b = 0; b < few; ++b) {
        store_complex(small + b * one + i, im, x);
        x = times<T>(x, turn);
      }
      store_complex(step + i, im, x);
      Complex<T> y = complex_at(e + i, im);
      for (int64_t a = 0; a < many; ++a) {
        store_complex(large + a * one + i, im, Complex<T>{y.re, -y.im});
        y = times<T>(y, x);
      }
    }
  }
};

template <class T>
int64_t kernel_scratch(int64_t pairs, int64_t tokens) noexcept {
  return Powers<T>(pairs, tokens, nullptr).size();
}

// y[r][c] = sum_k a[r][k] b[k][c], each element a vector, the distances between them given. rows: whole tiles.
template <class T>
void product(const T* a, int64_t a_row, int64_t a_k, const T* b, int64_t b_k, int64_t b_column, int64_t rows,
             int64_t columns, int64_t count, T* y, int64_t y_row, int64_t y_column) {
  for (int64_t r = 0; r < rows; r += kTall)
    for (int64_t c = 0; c < columns; c += kWide) {
      Vec<T> sum[kTall][kWide] = {};
      const T *p = a + r * a_row, *q = b + c * b_column;
      for (int64_t k = 0; k < count; ++k, p += a_k, q += b_k) {
        Vec<T> right[kWide];
#pragma GCC unroll 4
        for (int64_t j = 0; j < kWide; ++j) right[j] = load(q + j * b_column);
#pragma GCC unroll 4
        for (int64_t i = 0; i < kTall; ++i) {
          const Vec<T> left = load(p + i * a_row);
#pragma GCC unroll 4
          for (int64_t j = 0; j < kWide; ++j) sum[i][j] = mul_add(left, right[j], sum[i][j]);
        }
      }
#pragma GCC unroll 4
      for (int64_t i = 0; i < kTall; ++i)
#pragma GCC unroll 4
        for (int64_t j = 0; j < kWide; ++j) store<T>(y + (r + i) * y_row + (c + j) * y_column, sum[i][j]);
    }
}

template <class T>
void kernel(View<const T> w, View<const T> e, View<T> k, T* scratch) noexcept {
  constexpr int64_t v = kLanes<T>;
  const Powers<T> p(w.rows / 2, k.rows, scratch);
  for (int64_t c = 0; c < k.cols; c += v) {
    const int64_t n = smaller(v, k.cols - c);
    p.fill(w, e, c, n);
    product(p.large, p.one, v, p.small, v, p.one, p.many, p.few, p.rows, p.signal, p.few * v, v);
    for (int64_t t = 0; t < k.rows; ++t) store_some<T>(k.row(t) + c, load(p.signal + t * v), n);
  }
}

// Through the product into the tables, then down their chains of powers.
template <class T>
void kernel_backward(View<const T> w, View<const T> e, View<const T> d_k, View<T> d_w, View<T> d_e,
                     T* scratch) noexcept {
  constexpr int64_t v = kLanes<T>;
  const Powers<T> p(w.rows / 2, d_k.rows, scratch);
  for (int64_t c = 0; c < d_k.cols; c += v) {
    const int64_t n = smaller(v, d_k.cols - c);
    p.fill(w, e, c, n);
    load_rows<T>(d_k, d_k.rows, c, n, T(1), p.signal);
    clear(p.signal + d_k.rows * v, p.many * p.few - d_k.rows);
    product(p.signal, p.few * v, v, p.small, p.one, v, p.many, p.rows, p.few, p.to_large, p.one, v);
    product(p.signal, v, p.few * v, p.large, p.one, v, p.few, p.rows, p.many, p.to_small, p.one, v);
    for (int64_t i = 0; i < p.im; i += v) {
      const Complex<T> turn = complex_at(p.w + i, p.im), step = complex_at(p.step + i, p.im);
      Complex<T> d{}, to_step{}, to_turn{};
      for (int64_t a = p.many - 1; a >= 0; --a) {  // row a: e step^a, its imaginary part and gradient negated
        const Complex<T> given = complex_at(p.to_large + a * p.one + i, p.im);
        d = {d.re + given.re, d.im - given.im};
        if (a == 0) break;
        const Complex<T> left = complex_at(p.large + (a - 1) * p.one + i, p.im);
        const Complex<T> more = times_conjugate<T>(d, Complex<T>{left.re, -left.im});
        to_step = {to_step.re + more.re, to_step.im + more.im};
        d = times_conjugate<T>(d, step);
      }
      const Complex<T> to_e = d;
      d = to_step;
      for (int64_t b = p.few; b > 0; --b) {  // power b from power b - 1
        const Complex<T> more = times_conjugate<T>(d, complex_at(p.small + (b - 1) * p.one + i, p.im));
        to_turn = {to_turn.re + more.re, to_turn.im + more.im};
        const Complex<T> given = complex_at(p.to_small + (b - 1) * p.one + i, p.im);
        d = times_conjugate<T>(d, turn);
        d = {d.re + given.re, d.im + given.im};
      }
      const int64_t r = i / v, half = p.rows / 2;
      store_some<T>(d_w.row(r) + c, to_turn.re, n);
      store_some<T>(d_w.row(half + r) + c, to_turn.im, n);
      store_some<T>(d_e.row(r) + c, to_e.re, n);
      store_some<T>(d_e.row(half + r) + c, to_e.im, n);
    }
  }
}

}  // namespace

void fill_modal_kernel() {
  EFFLLM_SET(modal_kernel_scratch, kernel_scratch);
  EFFLLM_SET(modal_kernel, kernel);
  EFFLLM_SET(modal_kernel_backward, kernel_backward);
}

}  // namespace effllm::EFFLLM_ISA
