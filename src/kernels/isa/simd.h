// What the files in this folder share. Each is compiled once for each instruction set, with EFFLLM_ISA its name;
// everything lives in a namespace of that name, so that no inline function of one set is ever linked into another.
// Loops that the compiler vectorises well are plain; micro-kernels use the vector types below.
#pragma once
#include <bit>
#include <cstdint>

#include "tensor/view.h"

#if defined(__AVX512F__)
#define EFFLLM_VECTOR_BYTES 64
#elif defined(__AVX2__)
#define EFFLLM_VECTOR_BYTES 32
#else
#define EFFLLM_VECTOR_BYTES 16
#endif

namespace effllm::EFFLLM_ISA {

template <class T>
struct VectorOf {
  typedef T type __attribute__((vector_size(EFFLLM_VECTOR_BYTES)));
  typedef T unaligned __attribute__((vector_size(EFFLLM_VECTOR_BYTES), aligned(sizeof(T)), may_alias));
};
template <class T>
using Vec = typename VectorOf<T>::type;
template <class T>
inline constexpr int64_t kLanes = EFFLLM_VECTOR_BYTES / static_cast<int64_t>(sizeof(T));
#if defined(__AVX512F__)
inline constexpr int64_t kVectorRegisters = 32;
#else
inline constexpr int64_t kVectorRegisters = 16;
#endif

template <class T>
[[gnu::always_inline]] inline Vec<T> load(const T* p) {
  return *reinterpret_cast<const typename VectorOf<T>::unaligned*>(p);
}
template <class T>
[[gnu::always_inline]] inline void store(T* p, Vec<T> v) {
  *reinterpret_cast<typename VectorOf<T>::unaligned*>(p) = v;
}
template <class T>
[[gnu::always_inline]] inline Vec<T> broadcast(T x) {
  return x - Vec<T>{};  // not {} + x: that is an addition, which turns -0 into 0
}

// a b + c and c - a b, rounded once where the instruction set fuses them and twice in the generic set. The compiler is
// told to fuse nothing (-ffp-contract=off), so that bits follow from the source: not from the tile or the row that a
// number stands in, nor from the compiler's version or options.
#if defined(__AVX512F__)
[[gnu::always_inline]] inline Vec<float> mul_add(Vec<float> a, Vec<float> b, Vec<float> c) {
  return __builtin_ia32_vfmaddps512_mask(a, b, c, -1, 4);  // all lanes, rounded as the thread's mode says
}
[[gnu::always_inline]] inline Vec<double> mul_add(Vec<double> a, Vec<double> b, Vec<double> c) {
  return __builtin_ia32_vfmaddpd512_mask(a, b, c, -1, 4);
}
#elif defined(__FMA__)
[[gnu::always_inline]] inline Vec<float> mul_add(Vec<float> a, Vec<float> b, Vec<float> c) {
  return __builtin_ia32_vfmaddps256(a, b, c);
}
[[gnu::always_inline]] inline Vec<double> mul_add(Vec<double> a, Vec<double> b, Vec<double> c) {
  return __builtin_ia32_vfmaddpd256(a, b, c);
}
#else
[[gnu::always_inline]] inline Vec<float> mul_add(Vec<float> a, Vec<float> b, Vec<float> c) { return a * b + c; }
[[gnu::always_inline]] inline Vec<double> mul_add(Vec<double> a, Vec<double> b, Vec<double> c) { return a * b + c; }
#endif
#if defined(__FMA__)
[[gnu::always_inline]] inline float mul_add(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
[[gnu::always_inline]] inline double mul_add(double a, double b, double c) { return __builtin_fma(a, b, c); }
#else
[[gnu::always_inline]] inline float mul_add(float a, float b, float c) { return a * b + c; }
[[gnu::always_inline]] inline double mul_add(double a, double b, double c) { return a * b + c; }
#endif
[[gnu::always_inline]] inline Vec<float> mul_add(float a, Vec<float> b, Vec<float> c) {
  return mul_add(broadcast(a), b, c);
}
[[gnu::always_inline]] inline Vec<double> mul_add(double a, Vec<double> b, Vec<double> c) {
  return mul_add(broadcast(a), b, c);
}
[[gnu::always_inline]] inline Vec<float> mul_add(Vec<float> a, Vec<float> b, float c) {
  return mul_add(a, b, broadcast(c));
}
[[gnu::always_inline]] inline Vec<double> mul_add(Vec<double> a, Vec<double> b, double c) {
  return mul_add(a, b, broadcast(c));
}
template <class A, class B, class C>
[[gnu::always_inline]] inline C mul_sub_from(A a, B b, C c) {
  return mul_add(-a, b, c);
}

template <class T>
[[gnu::always_inline]] inline T smaller(T a, T b) {
  return b < a ? b : a;
}
template <class T>
[[gnu::always_inline]] inline T larger(T a, T b) {
  return a < b ? b : a;
}

[[gnu::always_inline]] inline float root(float x) { return __builtin_sqrtf(x); }
[[gnu::always_inline]] inline double root(double x) { return __builtin_sqrt(x); }

// The row that sums are added to, which starts at 0 unless `add`.
template <class T>
[[gnu::always_inline]] inline T* begun(T* row, int64_t n, bool add) {
  for (int64_t c = 0; !add && c < n; ++c) row[c] = 0;
  return row;
}
// y = a b of each column, or y + a b. product(c) gives both factors.
template <class T>
struct Factors {
  T a, b;
};
template <class T, class F>
[[gnu::always_inline]] inline void put_products(T* y, int64_t n, bool add, const F& product) {
  if (add) {
#pragma omp simd
    for (int64_t c = 0; c < n; ++c) {
      const Factors<T> f = product(c);
      y[c] = mul_add(f.a, f.b, y[c]);
    }
  } else {
#pragma omp simd
    for (int64_t c = 0; c < n; ++c) {
      const Factors<T> f = product(c);
      y[c] = f.a * f.b;
    }
  }
}

// Sets the kernel of a name to this function, for both types.
#define EFFLLM_SET(name, function) \
  (kernel::name<float>.run = function<float>, kernel::name<double>.run = function<double>)

}  // namespace effllm::EFFLLM_ISA
