// Cross-entropy of rows of logits, with the gradient formed in the same pass.
#include "kernels/loss.h"
#include "kernels/isa/math.h"
#include "kernels/isa/sums.h"

namespace effllm::EFFLLM_ISA {
namespace {

template <class T>
double cross_entropy(View<const T> logits, const int32_t* targets, const double* weights, T scale, double z_scale,
                     View<T> d_logits, double* nats, double* squares) noexcept {
  constexpr int64_t kBlock = 256;
  alignas(64) T block[kBlock];
  double all = 0, all_squares = 0;
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
    Sum<T> exponentials;
    for (int64_t from = 0; from < n; from += kBlock) {
      const int64_t count = smaller(kBlock, n - from);
      T* e = d ? d + from : block;
      const T* x = z + from;
#pragma omp simd
      for (int64_t c = 0; c < count; ++c) e[c] = fast_exp(x[c] - largest);
      each<T>(count, [&]<class V>(int64_t c) { exponentials.add(get<V>(e + c)); });
    }
    const T sum = exponentials.value();
    const double log_sum = __builtin_log(static_cast<double>(sum)), log_z = log_sum + static_cast<double>(largest);
    if (d) {
      const T s = weights ? static_cast<T>(scale * weights[r]) : scale;
      const T f = squares ? static_cast<T>((s + 2 * z_scale * log_z) / static_cast<double>(sum)) : s / sum;
#pragma omp simd
      for (int64_t c = 0; c < n; ++c) d[c] *= f;
      d[target] -= s;
    }
    const double loss = log_sum + (static_cast<double>(largest) - static_cast<double>(of_target));
    if (nats) nats[r] = loss;
    all += weights ? weights[r] * loss : loss;
    all_squares += log_z * log_z;
  }
  if (squares) *squares = all_squares;
  return all;
}

}  // namespace

void fill_loss() { EFFLLM_SET(cross_entropy, cross_entropy); }

}  // namespace effllm::EFFLLM_ISA
