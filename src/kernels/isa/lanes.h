// Columns of rows as lanes of vectors, where a row may end inside a vector.
#pragma once
#include "kernels/isa/simd.h"

namespace effllm::EFFLLM_ISA {

// The first n lanes, zero in the others.
template <class T>
[[gnu::always_inline]] inline Vec<T> load_some(const T* p, int64_t n) {
  if (n == kLanes<T>) return load(p);
  alignas(64) T x[kLanes<T>] = {};
  for (int64_t i = 0; i < n; ++i) x[i] = p[i];
  return load(x);
}
template <class T>
[[gnu::always_inline]] inline void store_some(T* p, Vec<T> v, int64_t n) {
  if (n == kLanes<T>) return store(p, v);
  for (int64_t i = 0; i < n; ++i) p[i] = v[i];
}
template <class T>
[[gnu::always_inline]] inline void put_some(T* p, Vec<T> v, int64_t n, bool add) {
  store_some<T>(p, add ? load_some(p, n) + v : v, n);
}
// Column c of all rows as vectors; zero where the view is null.
template <class T>
inline void load_rows(View<const T> from, int64_t rows, int64_t c, int64_t n, T factor, T* to) {
  for (int64_t i = 0; i < rows; ++i)
    store<T>(to + i * kLanes<T>, from ? factor * load_some(from.row(i) + c, n) : Vec<T>{});
}
template <class T>
inline void clear(T* p, int64_t vectors) {
  for (int64_t i = 0; i < vectors; ++i) store<T>(p + i * kLanes<T>, Vec<T>{});
}

}  // namespace effllm::EFFLLM_ISA
