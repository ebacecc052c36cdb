// Polynomials by Horner's rule.
#pragma once
#include "kernels/isa/simd.h"

namespace effllm::EFFLLM_ISA {

// highest x^n + .. + last, the coefficients in this order.
template <class V>
[[gnu::always_inline]] inline V polynomial(V, V highest) {
  return highest;
}
template <class V, class C, class... More>
[[gnu::always_inline]] inline V polynomial(V x, V highest, C next, More... more) {
  return polynomial(x, mul_add(highest, x, next), more...);
}

}  // namespace effllm::EFFLLM_ISA
