// The softmax of rows.
#include "kernels/softmax.h"
#include "kernels/isa/math.h"
#include "kernels/isa/sums.h"

namespace effllm::EFFLLM_ISA {
namespace {

template <class T>
void softmax(View<const T> x, View<T> y, double* log_sums) noexcept {
  const int64_t n = x.cols;
  for (int64_t r = 0; r < x.rows; ++r) {
    const T* in = x.row(r);
    T* out = y.row(r);
    T largest = in[0];
#pragma omp simd reduction(max : largest)
    for (int64_t c = 0; c < n; ++c) largest = in[c] > largest ? in[c] : largest;
#pragma omp simd
    for (int64_t c = 0; c < n; ++c) out[c] = fast_exp(in[c] - largest);
    Sum<T> sum;
    each<T>(n, [&]<class V>(int64_t c) { sum.add(get<V>(out + c)); });
    const T all = sum.value(), share = 1 / all;
#pragma omp simd
    for (int64_t c = 0; c < n; ++c) out[c] *= share;
    if (log_sums) log_sums[r] = __builtin_log(static_cast<double>(all)) + static_cast<double>(largest);
  }
}

template <class T>
void softmax_backward(View<const T> y, View<const T> dy, View<T> dx, bool add) noexcept {
  for (int64_t r = 0; r < y.rows; ++r) {
    const T *p = y.row(r), *q = dy.row(r);
    T* o = dx.row(r);
    const T mean = dot(p, q, y.cols);
    if (add) {
#pragma omp simd
      for (int64_t c = 0; c < y.cols; ++c) o[c] = mul_add(p[c], q[c] - mean, o[c]);
    } else {
#pragma omp simd
      for (int64_t c = 0; c < y.cols; ++c) o[c] = p[c] * (q[c] - mean);
    }
  }
}

}  // namespace

void fill_softmax() {
  EFFLLM_SET(softmax, softmax);
  EFFLLM_SET(softmax_backward, softmax_backward);
}

}  // namespace effllm::EFFLLM_ISA
