// How an op runs a row kernel: over blocks of rows, on several threads where nothing above is parallel already.
#pragma once
#include "autodiff/float_op.h"
#include "kernels/parallel.h"
#include "tensor/tensor.h"

namespace effllm {

inline constexpr int64_t kRowBlock = 64;

// f(from, n) over blocks of rows.
template <class F>
void for_row_blocks(int64_t rows, F&& f) {
  parallel_for(rows, kRowBlock, [&](int64_t from, int64_t to) { f(from, to - from); });
}

// f(views) of the same rows of all tensors, block after block.
template <class T, class F, class... More>
void on_rows(F&& f, const Tensor& first, const More&... more) {
  for_row_blocks(first.rows(),
                 [&](int64_t r, int64_t n) { f(first.view<T>().part(r, n), more.template view<T>().part(r, n)...); });
}

}  // namespace effllm
