// Sequences of heads: which rows and columns belong to one, how threads share them out, and what their passes need.
#pragma once
#include <algorithm>

#include "kernels/parallel.h"
#include "kernels/table.h"
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

// Tokens [from, to) of a view, in time or against it; null stays null.
template <class E>
View<E> cut(const View<E>& x, int64_t from, int64_t to, bool reverse = false) {
  if (!x) return x;
  return reverse ? View<E>{x.row(to - 1), to - from, x.cols, -x.stride} : x.part(from, to - from);
}

// exp of log decays [T, n], and a row of ones after it: what lies behind the last token doesn't decay.
template <class T>
Tensor linear_decays(View<const T> log_decay) {
  const int64_t tokens = log_decay.rows, n = log_decay.cols;
  const Tensor a = Tensor::dense({tokens + 1, n}, dtype_of<T>);
  const View<T> y = a.view<T>();
  if (n == 1) {
    for (int64_t t = 0; t < tokens; ++t) y.data[t] = *log_decay.row(t);
    const View<T> row{y.data, 1, tokens, tokens};
    kernels<T>().pointwise(Pointwise::exp, row, row);
  } else {
    kernels<T>().pointwise(Pointwise::exp, log_decay, y.part(0, tokens));
  }
  std::fill_n(y.row(tokens), n, T(1));
  return a;
}

}  // namespace effllm
