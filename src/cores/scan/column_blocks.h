// How elementwise recurrences are cut up: sequences and blocks of columns, independent of each other.
#pragma once
#include <algorithm>

#include "kernels/parallel.h"
#include "tensor/tensor.h"

namespace effllm {

// f(b, from, n): columns [from, from + n) of sequence b of a [B, T, C], so many blocks to a thread's turn that it pays.
template <class F>
void for_column_blocks(const Shape& s, F&& f) {
  constexpr int64_t kColumns = 512, kWorth = 1 << 15;
  const int64_t blocks = (s[2] + kColumns - 1) / kColumns, elements = s[1] * std::min(kColumns, s[2]);
  parallel_for(s[0] * blocks, 1 + kWorth / (elements + 1), [&](int64_t first, int64_t last) {
    for (int64_t item = first; item < last; ++item) {
      const int64_t from = item % blocks * kColumns;
      f(item / blocks, from, std::min(kColumns, s[2] - from));
    }
  });
}

template <class T>
T* row_or_null(const Tensor& t, int64_t row, int64_t column) {
  return t.defined() ? t.view<T>().row(row) + column : nullptr;
}

// Columns [from, from + n) of the tokens of sequence b.
template <class T>
View<T> part_or_null(const Tensor& t, int64_t b, int64_t tokens, int64_t from, int64_t n) {
  return t.defined() ? t.view<T>().part(b * tokens, tokens).columns(from, n) : View<T>{};
}

}  // namespace effllm
