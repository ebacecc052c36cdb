// Sums over a row in an order that its length alone sets: whole vectors lane by lane, the lanes by halves, then what is
// left. Never `omp simd reduction`, whose order is the compiler's choice.
#pragma once
#include <utility>

#include "kernels/isa/simd.h"

namespace effllm::EFFLLM_ISA {

// f<Vec<T>>(i) for whole vectors from i on, f<T>(i) for what is left of n elements.
template <class T, class F>
[[gnu::always_inline]] inline void each(int64_t n, F&& f) {
  int64_t i = 0;
  for (; i + kLanes<T> <= n; i += kLanes<T>) f.template operator()<Vec<T>>(i);
  for (; i < n; ++i) f.template operator()<T>(i);
}
template <class V, class T>
[[gnu::always_inline]] inline V get(const T* p) {
  if constexpr (sizeof(V) == sizeof(T))
    return *p;
  else
    return load(p);
}
template <class T>
[[gnu::always_inline]] inline void put(T* p, T x) {
  *p = x;
}
template <class T>
[[gnu::always_inline]] inline void put(T* p, Vec<T> x) {
  store(p, x);
}

template <int kBy, class V, int... kLane>
[[gnu::always_inline]] inline V turn(V x, std::integer_sequence<int, kLane...>) {
  return __builtin_shufflevector(x, x, ((kLane + kBy) % static_cast<int>(sizeof...(kLane)))...);
}
// The sum of all lanes, by halves.
template <class T, int kHalf = static_cast<int>(kLanes<T>) / 2>
[[gnu::always_inline]] inline T total(Vec<T> x) {
  if constexpr (kHalf == 0)
    return x[0];
  else
    return total<T, kHalf / 2>(x + turn<kHalf>(x, std::make_integer_sequence<int, static_cast<int>(kLanes<T>)>()));
}

template <class T>
struct Sum {
  Vec<T> lanes = {};
  T rest = 0;
  [[gnu::always_inline]] void add(Vec<T> x) { lanes += x; }
  [[gnu::always_inline]] void add(T x) { rest += x; }
  [[gnu::always_inline]] void add(Vec<T> x, Vec<T> y) { lanes = mul_add(x, y, lanes); }  // of products
  [[gnu::always_inline]] void add(T x, T y) { rest = mul_add(x, y, rest); }
  [[gnu::always_inline]] T value() const { return total<T>(lanes) + rest; }
};

template <class T>
inline T dot(const T* a, const T* b, int64_t n) {
  Sum<T> s;
  each<T>(n, [&]<class V>(int64_t i) { s.add(get<V>(a + i), get<V>(b + i)); });
  return s.value();
}
// sum of a b c
template <class T>
inline T dot(const T* a, const T* b, const T* c, int64_t n) {
  Sum<T> s;
  each<T>(n, [&]<class V>(int64_t i) { s.add(get<V>(a + i) * get<V>(b + i), get<V>(c + i)); });
  return s.value();
}

}  // namespace effllm::EFFLLM_ISA
