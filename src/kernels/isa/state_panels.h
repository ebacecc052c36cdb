// What passes over a state share: panels of its columns as wide as registers allow, and decays that leave inner loops.
#pragma once
#include "kernels/isa/simd.h"

namespace effllm::EFFLLM_ISA {
namespace {

// Vectors in a row of a panel; one in f64, which verifies and needs no speed: each width is compiled many times over.
template <class T>
constexpr int kWidest = sizeof(T) == 8           ? 1
                        : kVectorRegisters >= 32 ? 4
                                                 : 2;

// Smallest product of decays that is divided by: far from overflow, and its inverse times any sensible number too.
template <class T>
constexpr T kSmallest = sizeof(T) == 4 ? T(1e-14) : T(1e-100);

// f<vectors>(column) for panels that together hold all columns.
template <class T, class F>
void for_panel_columns(int64_t columns, const F& f) {
  for (int64_t column = 0; column < columns;) {
    const int64_t left = columns - column;
    const int vectors = kWidest<T> == 1 ? 1 : left > 2 * kLanes<T> ? kWidest<T> : left > kLanes<T> ? 2 : 1;
    if (vectors == 1)
      f.template operator()<1>(column);
    else if (vectors == kWidest<T>)
      f.template operator()<kWidest<T>>(column);
    else if constexpr (kWidest<T> > 2)
      f.template operator()<2>(column);
    column += vectors * kLanes<T>;
  }
}

// f(m, stride) with the first `width` columns of a state's rows. They are worked on in place where they are whole
// vectors one after another, or where the steps are too few to pay for a copy at `packed`, whose rows end in zeros.
template <int64_t kWidth, class T, class F>
void with_columns(T* state, int64_t rows, int64_t columns, int64_t width, int64_t steps, T* packed, const F& f) {
  constexpr int64_t kWorthACopy = 16;
  if (width == kWidth && (columns == width || steps < kWorthACopy)) return f(state, columns);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t c = 0; c < kWidth; ++c) packed[i * kWidth + c] = c < width ? state[i * columns + c] : T(0);
  f(packed, kWidth);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t c = 0; c < width; ++c) state[i * columns + c] = packed[i * kWidth + c];
}

}  // namespace
}  // namespace effllm::EFFLLM_ISA
