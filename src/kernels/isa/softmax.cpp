// Softmax of rows, and its gradient.
#include "kernels/softmax.h"
#include "kernels/isa/math.h"
#include "kernels/isa/sums.h"

namespace effllm::EFFLLM_ISA {
namespace {

template <class T>
void softmax(View<const T> x, View<T> y) noexcept {
  for (int64_t r = 0; r < x.rows; ++r) {
    const T* p = x.row(r);
    T* o = y.row(r);
    T largest = p[0];
#pragma omp simd reduction(max : largest)
    for (int64_t c = 0; c < x.cols; ++c) largest = p[c] > largest ? p[c] : largest;
#pragma omp simd
    for (int64_t c = 0; c < x.cols; ++c) o[c] = fast_exp(p[c] - largest);
    Sum<T> sum;
    each<T>(x.cols, [&]<class V>(int64_t c) { sum.add(get<V>(o + c)); });
    const T factor = T(1) / sum.value();
#pragma omp simd
    for (int64_t c = 0; c < x.cols; ++c) o[c] *= factor;
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
