// Short causal depthwise convolution of one sequence, y_t = sum_j w[j] x_{t-(W-1)+j}, and its gradients. A token sees
// the tokens of its own document alone; those before the first row stand in `history`.
#include "kernels/short_conv.h"
#include "kernels/isa/simd.h"

namespace effllm::EFFLLM_ISA {
namespace {

constexpr int kTogether = 4;  // taps in one sweep over a row

// The source row s of a tap, in x or, below 0, in history; null where it is not known.
template <class T>
const T* source_row(View<const T> x, View<const T> history, int64_t s) {
  return s >= 0 ? x.row(s) : history ? history.row(history.rows + s) : nullptr;
}

// y (+)= sum_n x[n] * w[n]
template <int kTaps, class T>
void add_taps(const T* const* x, const T* const* w, T* y, int64_t cols, bool add) {
#pragma omp simd
  for (int64_t c = 0; c < cols; ++c) {
    T s = add ? y[c] : T(0);
    for (int n = 0; n < kTaps; ++n) s = mul_add(x[n][c], w[n][c], s);
    y[c] = s;
  }
}

// Collects pairs of rows and adds their products to one row, a few at a time, always in the same order.
template <class T>
struct TapSum {
  T* y;
  int64_t cols;
  bool add;  // to what y holds; true once something was written
  int pending = 0;
  const T *x[kTogether] = {}, *w[kTogether] = {};

  void take(const T* x_row, const T* w_row) {
    x[pending] = x_row;
    w[pending] = w_row;
    if (++pending == kTogether) flush();
  }
  void flush() {
    switch (pending) {
      case 0:
        return;
      case 1:
        add_taps<1>(x, w, y, cols, add);
        break;
      case 2:
        add_taps<2>(x, w, y, cols, add);
        break;
      case 3:
        add_taps<3>(x, w, y, cols, add);
        break;
      default:
        add_taps<4>(x, w, y, cols, add);
    }
    add = true;
    pending = 0;
  }
  void finish() {
    flush();
    begun(y, cols, add);
  }
};

template <class T>
void short_conv(View<const T> x, View<const T> w, View<const T> history, const uint8_t* starts, View<T> y) noexcept {
  for (int64_t t = 0; t < x.rows; ++t) {
    TapSum<T> sum{y.row(t), x.cols, false};
    for (int64_t back = 0; back < w.rows; ++back) {
      const T* from = source_row(x, history, t - back);
      if (!from) break;
      sum.take(from, w.row(w.rows - 1 - back));
      if (starts && t >= back && starts[t - back]) break;
    }
    sum.finish();
  }
}

// d_x_s = sum over the tokens t = s + ahead that saw s: a start in (s, t] hides s from t.
template <class T>
void source_gradient(int64_t s, View<const T> w, const uint8_t* starts, View<const T> dy, T* dx, bool add) {
  TapSum<T> sum{dx, dy.cols, add};
  for (int64_t ahead = 0; ahead < w.rows && s + ahead < dy.rows; ++ahead) {
    const int64_t t = s + ahead;
    if (t < 0) continue;
    if (ahead > 0 && starts && starts[t]) break;
    sum.take(dy.row(t), w.row(w.rows - 1 - ahead));
  }
  sum.finish();
}

template <class T>
void weight_gradient(View<const T> x, View<const T> history, const uint8_t* starts, View<const T> dy, View<T> dw) {
  for (int64_t t = 0; t < x.rows; ++t) {
    const T* g = dy.row(t);
    for (int64_t back = 0; back < dw.rows; ++back) {
      const T* from = source_row(x, history, t - back);
      if (!from) break;
      T* to = dw.row(dw.rows - 1 - back);
#pragma omp simd
      for (int64_t c = 0; c < x.cols; ++c) to[c] = mul_add(g[c], from[c], to[c]);
      if (starts && t >= back && starts[t - back]) break;
    }
  }
}

template <class T>
void short_conv_backward(View<const T> x, View<const T> w, View<const T> history, const uint8_t* starts,
                         View<const T> dy, View<T> dx, bool add_x, View<T> dw, bool add_w, View<T> d_history,
                         bool add_history) noexcept {
  if (dx)
    for (int64_t s = 0; s < dx.rows; ++s) source_gradient(s, w, starts, dy, dx.row(s), add_x);
  if (d_history)
    for (int64_t r = 0; r < d_history.rows; ++r)
      source_gradient(r - d_history.rows, w, starts, dy, d_history.row(r), add_history);
  if (!dw) return;
  for (int64_t j = 0; j < dw.rows; ++j) begun(dw.row(j), dw.cols, add_w);
  weight_gradient(x, history, starts, dy, dw);
}

}  // namespace

void fill_short_conv() {
  EFFLLM_SET(short_conv, short_conv);
  EFFLLM_SET(short_conv_backward, short_conv_backward);
}

}  // namespace effllm::EFFLLM_ISA
