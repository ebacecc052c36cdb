// Elementwise linear recurrence h_t = a_t h_{t-1} + b_t of one sequence, and its gradients. Time runs outside, columns
// inside: every row is read and written once, in order.
#include "kernels/isa/simd.h"

namespace effllm::EFFLLM_ISA {
namespace {

template <class T>
void scan(View<const T> a, View<const T> b, const T* h0, const uint8_t* starts, View<T> h) noexcept {
  const T* before = h0;  // null: zero
  for (int64_t t = 0; t < b.rows; ++t) {
    const T *at = a.row(t), *bt = b.row(t);
    T* y = h.row(t);
    if (!before || (starts && starts[t])) {
#pragma omp simd
      for (int64_t c = 0; c < b.cols; ++c) y[c] = bt[c];
    } else {
#pragma omp simd
      for (int64_t c = 0; c < b.cols; ++c) y[c] = mul_add(at[c], before[c], bt[c]);
    }
    before = y;
  }
}

// y (+)= g * x, where x may be null for zero.
template <class T>
void put_product(const T* g, const T* x, T* y, int64_t n, bool add) {
  if (!x) {
    if (!add)
      for (int64_t c = 0; c < n; ++c) y[c] = 0;
    return;
  }
  if (add) {
#pragma omp simd
    for (int64_t c = 0; c < n; ++c) y[c] = mul_add(g[c], x[c], y[c]);
  } else {
#pragma omp simd
    for (int64_t c = 0; c < n; ++c) y[c] = g[c] * x[c];
  }
}

// With g_t = d_h_t + a_{t+1} g_{t+1} (d_last beside the last d_h): d_b = g, d_a_t = g_t h_{t-1}, d_h0 = a_0 g_0. No
// gradient passes the start of a document. Columns go in blocks, whose g stays in the first-level cache.
template <class T>
void scan_backward(View<const T> a, View<const T> h, const T* h0, const uint8_t* starts, View<const T> d_h,
                   const T* d_last, View<T> da, bool add_a, View<T> db, bool add_b, T* d_h0, bool add_h0) noexcept {
  constexpr int64_t kBlock = 512;
  alignas(64) T g[kBlock];
  for (int64_t c0 = 0; c0 < a.cols; c0 += kBlock) {
    const int64_t n = smaller(kBlock, a.cols - c0);
    const T* after = nullptr;  // a_{t+1}, null where no gradient comes from the token after
    for (int64_t c = 0; c < n; ++c) g[c] = d_last ? d_last[c0 + c] : T(0);
    for (int64_t t = a.rows - 1; t >= 0; --t) {
      if (after) {
#pragma omp simd
        for (int64_t c = 0; c < n; ++c) g[c] *= after[c];
      } else if (t + 1 < a.rows) {
        for (int64_t c = 0; c < n; ++c) g[c] = 0;
      }
      if (d_h) {
        const T* d = d_h.row(t) + c0;
#pragma omp simd
        for (int64_t c = 0; c < n; ++c) g[c] += d[c];
      }
      const bool first = starts && starts[t];
      if (da) {
        const T* before = first ? nullptr : t > 0 ? h.row(t - 1) + c0 : h0 ? h0 + c0 : nullptr;
        put_product(g, before, da.row(t) + c0, n, add_a);
      }
      if (db) {
        T* y = db.row(t) + c0;
#pragma omp simd
        for (int64_t c = 0; c < n; ++c) y[c] = (add_b ? y[c] : T(0)) + g[c];
      }
      after = first ? nullptr : a.row(t) + c0;
    }
    if (!d_h0) continue;
    if (a.rows > 0) {
      put_product(g, after, d_h0 + c0, n, add_h0);
    } else {
      for (int64_t c = 0; c < n; ++c) d_h0[c0 + c] = (add_h0 ? d_h0[c0 + c] : T(0)) + g[c];
    }
  }
}

template <class T>
void fill_one(Kernels<T>& k) {
  k.scan = scan<T>;
  k.scan_backward = scan_backward<T>;
}

}  // namespace

void fill_scan(Kernels<float>& f, Kernels<double>& d) {
  fill_one(f);
  fill_one(d);
}

}  // namespace effllm::EFFLLM_ISA
