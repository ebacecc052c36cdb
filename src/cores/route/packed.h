// Rows behind the last that is in use.
#pragma once
#include <algorithm>

#include "tensor/tensor.h"

namespace effllm {

// Zeros in the rows that nothing was packed into; starts: those of a Dispatch.
template <class T>
void clear_unused(const View<T>& packed, const Tensor& starts) {
  for (int64_t r = starts.data<int64_t>()[starts.numel() - 1]; r < packed.rows; ++r)
    std::fill_n(packed.row(r), packed.cols, T(0));
}

}  // namespace effllm
