// Sequences of heads: which rows and columns belong to one, and how threads share them out.
#pragma once
#include <algorithm>

#include "kernels/parallel.h"
#include "tensor/tensor.h"

namespace effllm {

// Columns of head h in the tokens of sequence b, of x [B, T, H * n]; null data where x is undefined.
template <class T>
View<T> columns_of_head(const Tensor& x, int64_t b, int64_t h, int64_t heads) {
  if (!x.defined()) return {};
  const int64_t tokens = x.dim(1), n = x.cols() / heads;
  return x.view<T>().part(b * tokens, tokens).columns(h * n, n);
}
// The matrix of one head of a state [B, H, dk, dv]; null data where it is undefined.
template <class T>
View<T> state_of_head(const Tensor& state, int64_t item) {
  return state.defined() ? state.view<T>().part(item * state.dim(2), state.dim(2)) : View<T>{};
}

// f(item, b, h) for every head of every sequence, so many to a thread's turn that it pays. work: multiplications a
// head.
template <class F>
void for_each_head(int64_t batch, int64_t heads, int64_t work, F&& f) {
  constexpr int64_t kWorth = 1 << 16;
  parallel_for(batch * heads, std::max<int64_t>(1, kWorth / work), [&](int64_t from, int64_t to) {
    for (int64_t item = from; item < to; ++item) f(item, item / heads, item % heads);
  });
}

}  // namespace effllm
