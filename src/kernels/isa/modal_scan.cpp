// The recurrence of state spaces with constant complex decays. A group of channels, one a lane, at a time; states turn
// by one multiplication a token, so that no angle adds up.
#include "kernels/isa/complex.h"
#include "kernels/isa/lanes.h"
#include "kernels/modal.h"

namespace effllm::EFFLLM_ISA {
namespace {

constexpr int64_t kSpan = kModalSpan;

template <class T>
int64_t scan_scratch(int64_t pairs, int64_t columns) noexcept {
  const int64_t groups = (columns + kLanes<T> - 1) / kLanes<T>;
  return (3 + 3 * groups + kSpan) * 2 * pairs * kLanes<T>;
}

// One group: h, w and e are [2P] vectors.
template <class T>
void scan(const ModalScan<T>& a) noexcept {
  constexpr int64_t v = kLanes<T>;
  const int64_t rows = a.w.rows, im = rows / 2 * v;
  T *const h = a.scratch, *const w = h + rows * v, *const e = w + rows * v;
  for (int64_t c = 0; c < a.u.cols; c += v) {
    const int64_t n = smaller(v, a.u.cols - c);
    load_rows<T>(a.h0, rows, c, n, T(1), h);
    load_rows<T>(a.w, rows, c, n, T(1), w);
    load_rows<T>(a.e, rows, c, n, T(1), e);
    const Vec<T> skip = a.skip ? load_some(a.skip + c, n) : Vec<T>{};
    for (int64_t t = 0; t < a.u.rows; ++t) {
      if (a.checkpoints && t % kSpan == 0)
        for (int64_t i = 0; i < rows; ++i)
          store_some<T>(a.checkpoints.row(t / kSpan * rows + i) + c, load(h + i * v), n);
      if (a.starts && a.starts[t]) clear(h, rows);
      const Vec<T> u = load_some(a.u.row(t) + c, n);
      Vec<T> y = skip * u, minus{};
      for (int64_t i = 0; i < im; i += v) {
        Complex<T> now = times<T>(complex_at(w + i, im), complex_at(h + i, im));
        now.re += u;
        store_complex(h + i, im, now);
        y = mul_add(now.re, load(e + i), y);
        minus = mul_add(now.im, load(e + im + i), minus);
      }
      store_some<T>(a.y.row(t) + c, y - minus, n);
    }
    for (int64_t i = 0; i < rows; ++i) store_some<T>(a.last.row(i) + c, load(h + i * v), n);
  }
}

// With G_t = conj(e) dy_t + conj(w) G_{t+1}: du = sum Re G, dw = sum_t G conj(h_{t-1}), de = sum_t dy conj(h_t).
template <class T>
void scan_backward(const ModalScan<T>& a, const ModalScanBackward<T>& g) noexcept {
  constexpr int64_t v = kLanes<T>;
  const int64_t rows = a.w.rows, im = rows / 2 * v, one = rows * v, tokens = a.u.rows;
  const int64_t groups = (a.u.cols + v - 1) / v;
  T *const h = a.scratch, *const w = h + one, *const e = w + one, *const before = e + one;
  T *const running = before + kSpan * one, *const to_w = running + groups * one, *const to_e = to_w + groups * one;
  for (int64_t c = 0, k = 0; c < a.u.cols; c += v, k += one) {
    const int64_t n = smaller(v, a.u.cols - c);
    load_rows<T>(a.w, rows, c, n, T(1), w);
    load_rows<T>(a.e, rows, c, n, T(1), e);
    load_rows<T>(g.d_last, rows, c, n, T(1), running + k);
    clear(to_w + k, rows);
    clear(to_e + k, rows);
    const Vec<T> skip = a.skip ? load_some(a.skip + c, n) : Vec<T>{};
    Vec<T> to_skip{};
    for (int64_t from = (tokens - 1) / kSpan * kSpan; from >= 0; from -= kSpan) {
      const int64_t to = smaller(from + kSpan, tokens);
      load_rows<T>(a.checkpoints.part(from / kSpan * rows, rows), rows, c, n, T(1), h);
      for (int64_t t = from; t < to; ++t) {  // states before each token
        if (a.starts && a.starts[t]) clear(h, rows);
        const Vec<T> u = load_some(a.u.row(t) + c, n);
        T* const keep = before + (t - from) * one;
        for (int64_t i = 0; i < im; i += v) {
          const Complex<T> x = complex_at(h + i, im);
          store_complex(keep + i, im, x);
          Complex<T> now = times<T>(complex_at(w + i, im), x);
          now.re += u;
          store_complex(h + i, im, now);
        }
      }
      for (int64_t t = to - 1; t >= from; --t) {
        const Vec<T> u = load_some(a.u.row(t) + c, n), dy = g.d_y ? load_some(g.d_y.row(t) + c, n) : Vec<T>{};
        const T* const keep = before + (t - from) * one;
        Vec<T> du = skip * dy;
        to_skip = mul_add(u, dy, to_skip);
        for (int64_t i = 0; i < im; i += v) {
          const Complex<T> x = complex_at(keep + i, im), turn = complex_at(w + i, im), read = complex_at(e + i, im);
          Complex<T> now = times<T>(turn, x), d = complex_at(running + k + i, im);
          now.re += u;
          add_to(to_e + k + i, im, Complex<T>{dy * now.re, -(dy * now.im)});
          d = {mul_add(read.re, dy, d.re), mul_sub_from(read.im, dy, d.im)};
          du += d.re;
          add_to(to_w + k + i, im, times_conjugate<T>(d, x));
          store_complex(running + k + i, im, times_conjugate<T>(d, turn));
        }
        if (a.starts && a.starts[t]) clear(running + k, rows);
        if (g.d_u) put_some<T>(g.d_u.row(t) + c, du, n, g.add_u);
      }
    }
    store_some<T>(g.d_skip + c, to_skip, n);
    for (int64_t i = 0; i < rows; ++i) {
      store_some<T>(g.d_w.row(i) + c, load(to_w + k + i * v), n);
      store_some<T>(g.d_e.row(i) + c, load(to_e + k + i * v), n);
      if (g.d_h0) put_some<T>(g.d_h0.row(i) + c, load(running + k + i * v), n, g.add_h0);
    }
  }
}

}  // namespace

void fill_modal_scan() {
  EFFLLM_SET(modal_scan_scratch, scan_scratch);
  EFFLLM_SET(modal_scan, scan);
  EFFLLM_SET(modal_scan_backward, scan_backward);
}

}  // namespace effllm::EFFLLM_ISA
