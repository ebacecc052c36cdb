// Cross-entropy of rows of logits, with the gradient formed in the same pass.
#include "kernels/isa/math.h"
#include "kernels/isa/simd.h"

namespace effllm::EFFLLM_ISA {
namespace {

template <class T>
double cross_entropy(View<const T> logits, const int32_t* targets, T scale, View<T> d_logits, double* nats) noexcept {
  double total = 0;
  const int64_t n = logits.cols;
  for (int64_t r = 0; r < logits.rows; ++r) {
    const T* z = logits.row(r);
    T* d = d_logits ? d_logits.row(r) : nullptr;
    const int32_t target = targets[r];
    if (target < 0) {
      if (nats) nats[r] = 0;
      if (d)
        for (int64_t c = 0; c < n; ++c) d[c] = 0;
      continue;
    }
    T largest = z[0];
#pragma omp simd reduction(max : largest)
    for (int64_t c = 0; c < n; ++c) largest = z[c] > largest ? z[c] : largest;
    const T of_target = z[target];
    T sum = 0;
    if (d) {
#pragma omp simd reduction(+ : sum)
      for (int64_t c = 0; c < n; ++c) {
        const T e = fast_exp(z[c] - largest);
        d[c] = e;
        sum += e;
      }
      const T f = scale / sum;
#pragma omp simd
      for (int64_t c = 0; c < n; ++c) d[c] *= f;
      d[target] -= scale;
    } else {
#pragma omp simd reduction(+ : sum)
      for (int64_t c = 0; c < n; ++c) sum += fast_exp(z[c] - largest);
    }
    const double loss =
        __builtin_log(static_cast<double>(sum)) + (static_cast<double>(largest) - static_cast<double>(of_target));
    if (nats) nats[r] = loss;
    total += loss;
  }
  return total;
}

}  // namespace

void fill_loss(Kernels<float>& f, Kernels<double>& d) {
  f.cross_entropy = cross_entropy<float>;
  d.cross_entropy = cross_entropy<double>;
}

}  // namespace effllm::EFFLLM_ISA
