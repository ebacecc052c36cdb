// The loops of a scan of one sequence whose coefficients a form computes from its inputs, forwards and backwards, so
// that nothing but the inputs and h touches memory. A form has kInputs, kRow, `coefficients` and `slopes`.
#pragma once
#include "kernels/isa/math.h"
#include "kernels/isa/simd.h"
#include "kernels/scan.h"

namespace effllm::EFFLLM_ISA {
namespace {

constexpr int64_t kBlock = 512;  // columns, whose running gradient stays in the first-level cache

template <class T>
struct Coefficients {
  T a, b;
};
template <class T>
struct Slopes {  // of g h_t to the inputs and the row; a: what h_{t-1} is multiplied by
  T a, x0, x1, x2, row;
};

template <class Form, class T>
void forward(const Scan<T>& s, View<T> h) {
  const T* before = s.h0;
  for (int64_t t = 0; t < h.rows; ++t) {
    const T *x0 = s.x[0].row(t), *x1 = s.x[1].row(t), *x2 = Form::kInputs > 2 ? s.x[2].row(t) : x1;
    const T* row = Form::kRow ? s.row : x0;
    T* y = h.row(t);
    if (!before || (s.starts && s.starts[t])) {
#pragma omp simd
      for (int64_t c = 0; c < h.cols; ++c) y[c] = Form::template coefficients<true>(x0[c], x1[c], x2[c], row[c]).b;
    } else {
#pragma omp simd
      for (int64_t c = 0; c < h.cols; ++c) {
        const Coefficients<T> k = Form::template coefficients<false>(x0[c], x1[c], x2[c], row[c]);
        y[c] = mul_add(k.a, before[c], k.b);
      }
    }
    before = y;
  }
}

// One row: g, the gradient of h_t on entry, becomes that of h_{t-1}.
template <class Form, bool kAdd, bool kFirst, class T>
void backward_row(const T* x0, const T* x1, const T* x2, const T* row, const T* before, int64_t n, T* __restrict g,
                  T* __restrict d0, T* __restrict d1, T* __restrict d2, T* __restrict d_row) {
#pragma omp simd
  for (int64_t c = 0; c < n; ++c) {
    const Slopes<T> s = Form::template slopes<kFirst>(x0[c], x1[c], x2[c], row[c], g[c], kFirst ? T(0) : before[c]);
    d0[c] = kAdd ? d0[c] + s.x0 : s.x0;
    d1[c] = kAdd ? d1[c] + s.x1 : s.x1;
    if constexpr (Form::kInputs > 2) d2[c] = kAdd ? d2[c] + s.x2 : s.x2;
    if constexpr (Form::kRow) d_row[c] += s.row;
    g[c] = kFirst ? T(0) : g[c] * s.a;
  }
}

template <class Form, class T>
void backward(const Scan<T>& s, View<const T> h, const ScanBackward<T>& d) {
  alignas(64) T g[kBlock], d_row[kBlock], spare[3][kBlock];
  const bool same = d.add[0] == d.add[1] && (Form::kInputs < 3 || d.add[1] == d.add[2]);
  for (int64_t c0 = 0; c0 < h.cols; c0 += kBlock) {
    const int64_t n = smaller(kBlock, h.cols - c0);
    for (int64_t c = 0; c < n; ++c) g[c] = d.d_last ? d.d_last[c0 + c] : T(0);
    for (int64_t c = 0; c < n; ++c) d_row[c] = 0;
    for (int64_t c = 0; c < n; ++c) spare[0][c] = spare[1][c] = spare[2][c] = 0;
    for (int64_t t = h.rows - 1; t >= 0; --t) {
      if (d.d_h) {
        const T* from = d.d_h.row(t) + c0;
#pragma omp simd
        for (int64_t c = 0; c < n; ++c) g[c] += from[c];
      }
      const T *x0 = s.x[0].row(t) + c0, *x1 = s.x[1].row(t) + c0, *x2 = Form::kInputs > 2 ? s.x[2].row(t) + c0 : x1;
      const T* row = Form::kRow ? s.row + c0 : x0;
      const bool first = s.starts && s.starts[t];
      const T* before = first ? nullptr : t > 0 ? h.row(t - 1) + c0 : s.h0 ? s.h0 + c0 : nullptr;
      T* into[3];
      for (int k = 0; k < 3; ++k) into[k] = same && k < Form::kInputs && d.dx[k] ? d.dx[k].row(t) + c0 : spare[k];
      const auto run = [&]<bool kAdd>() {
        before ? backward_row<Form, kAdd, false>(x0, x1, x2, row, before, n, g, into[0], into[1], into[2], d_row)
               : backward_row<Form, kAdd, true>(x0, x1, x2, row, before, n, g, into[0], into[1], into[2], d_row);
      };
      same&& d.add[0] ? run.template operator()<true>() : run.template operator()<false>();
      for (int k = 0; !same && k < Form::kInputs; ++k) {
        if (!d.dx[k]) continue;
        T* to = d.dx[k].row(t) + c0;
        for (int64_t c = 0; c < n; ++c) to[c] = d.add[k] ? to[c] + spare[k][c] : spare[k][c];
      }
    }
    if (d.d_row)
      for (int64_t c = 0; c < n; ++c) d.d_row[c0 + c] = d_row[c];
    if (d.d_h0)
      for (int64_t c = 0; c < n; ++c) d.d_h0[c0 + c] = (d.add_h0 ? d.d_h0[c0 + c] : T(0)) + g[c];
  }
}

template <class Form, class T>
void run_scan(const Scan<T>& s, View<T> h, const ScanBackward<T>* d) {
  d ? backward<Form, T>(s, h, *d) : forward<Form, T>(s, h);
}

}  // namespace
}  // namespace effllm::EFFLLM_ISA
