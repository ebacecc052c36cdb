// Complex numbers as two vectors, which lie some distance apart in memory.
#pragma once
#include "kernels/isa/simd.h"

namespace effllm::EFFLLM_ISA {

template <class T>
struct Complex {
  Vec<T> re, im;
};
template <class T>
[[gnu::always_inline]] inline Complex<T> complex_at(const T* re, int64_t distance) {
  return {load(re), load(re + distance)};
}
template <class T>
[[gnu::always_inline]] inline void store_complex(T* re, int64_t distance, Complex<T> x) {
  store<T>(re, x.re);
  store<T>(re + distance, x.im);
}
template <class T>
[[gnu::always_inline]] inline Complex<T> times(Complex<T> a, Complex<T> b) {
  return {mul_sub_from(a.im, b.im, a.re * b.re), mul_add(a.im, b.re, a.re * b.im)};
}
template <class T>
[[gnu::always_inline]] inline Complex<T> times_conjugate(Complex<T> a, Complex<T> b) {  // a conj(b)
  return {mul_add(a.im, b.im, a.re * b.re), mul_sub_from(a.re, b.im, a.im * b.re)};
}
template <class T>
[[gnu::always_inline]] inline void add_to(T* re, int64_t distance, Complex<T> x) {
  store<T>(re, load(re) + x.re);
  store<T>(re + distance, load(re + distance) + x.im);
}

}  // namespace effllm::EFFLLM_ISA
