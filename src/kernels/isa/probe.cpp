// What the roofline is measured with: multiply-adds in registers, and reading and writing memory as fast as it goes.
#include "kernels/probe.h"
#include "kernels/isa/simd.h"

namespace effllm::EFFLLM_ISA {
namespace {

constexpr int kChains = kVectorRegisters == 32 ? 24 : 12;  // latency times throughput, and registers left for operands

// `rounds` multiply-adds in each of kChains independent chains; returns their number of operations. The values tend to
// 1, so that none overflows or becomes subnormal.
template <class T>
double fma_chains(int64_t rounds, T* sink) noexcept {
  Vec<T> x[kChains];
  const Vec<T> half = broadcast(T(0.5));
#pragma GCC unroll 32
  for (int i = 0; i < kChains; ++i) x[i] = broadcast(static_cast<T>(i));
  for (int64_t r = 0; r < rounds; ++r)
#pragma GCC unroll 32
    for (int i = 0; i < kChains; ++i) x[i] = mul_add(x[i], half, half);
  Vec<T> sum{};
#pragma GCC unroll 32
  for (int i = 0; i < kChains; ++i) sum += x[i];
  store(sink, sum);
  return 2.0 * static_cast<double>(rounds * kChains * kLanes<T>);
}

template <class T>
T read_all(const T* x, int64_t n) noexcept {
  constexpr int64_t w = 8 * kLanes<T>;
  Vec<T> sum[8] = {};
  for (int64_t i = 0; i + w <= n; i += w)
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) sum[j] += load(x + i + j * kLanes<T>);
  T s = 0;
  for (int j = 0; j < 8; ++j)
    for (int64_t l = 0; l < kLanes<T>; ++l) s += sum[j][l];
  return s;
}

// a = b + s c (McCalpin's STREAM triad).
template <class T>
void triad(const T* b, const T* c, T s, T* a, int64_t n) noexcept {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) a[i] = mul_add(s, c[i], b[i]);
}

}  // namespace

void fill_probe() {
  EFFLLM_SET(fma_chains, fma_chains);
  EFFLLM_SET(read_all, read_all);
  EFFLLM_SET(triad, triad);
}

}  // namespace effllm::EFFLLM_ISA
