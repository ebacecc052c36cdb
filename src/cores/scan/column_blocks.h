// How elementwise recurrences are cut up: sequences and blocks of columns, independent of each other.
#pragma once
#include <algorithm>

#include "autodiff/float_op.h"
#include "kernels/parallel.h"
#include "kernels/pointwise.h"

namespace effllm {

struct BlockSizes {
  int64_t columns = 512;    // at most, of a block
  int64_t work = 1;         // of an element
  int64_t worth = 1 << 15;  // work that makes a thread's turn pay
};

// f(b, from, n): columns [from, from + n) of sequence b of a [B, T, C], so many blocks to a thread's turn that it pays.
template <class F>
void for_column_blocks(const Shape& s, F&& f, const BlockSizes& z = {}) {
  const int64_t blocks = (s[2] + z.columns - 1) / z.columns, work = s[1] * std::min(z.columns, s[2]) * z.work;
  parallel_for(s[0] * blocks, 1 + z.worth / (work + 1), [&](int64_t first, int64_t last) {
    for (int64_t item = first; item < last; ++item) {
      const int64_t from = item % blocks * z.columns;
      f(item / blocks, from, std::min(z.columns, s[2] - from));
    }
  });
}

template <class T>
T* row_or_null(const Tensor& t, int64_t row, int64_t column) {
  return t.defined() ? t.view<T>().row(row) + column : nullptr;
}

// Columns [from, from + n) of matrix i of t [.., rows, C].
template <class T>
View<T> part_or_null(const Tensor& t, int64_t i, int64_t from, int64_t n) {
  return t.defined() ? t.view<T>().part(i * t.shape()[-2], t.shape()[-2]).columns(from, n) : View<T>{};
}

// Adds what sequences or blocks gave apart, [n, like the sink], in their order.
template <class T>
void add_parts(const Tensor& parts, const Sink& to) {
  if (!to) return;
  const View<const T> p = parts.view<T>();
  const int64_t rows = to.into.rows();
  for (int64_t from = 0; from < p.rows; from += rows)
    kernel::scale<T>(T(1), p.part(from, rows), to.view<T>(), to.accumulate || from > 0);
}

}  // namespace effllm
