// Sequences of heads: which rows and columns belong to one, how threads share them out, and what their passes need.
#pragma once
#include <algorithm>

#include "autodiff/float_op.h"
#include "kernels/parallel.h"
#include "kernels/pointwise.h"
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
template <class T>
void clear(View<T> x) {
  for (int64_t r = 0; r < x.rows; ++r) std::fill_n(x.row(r), x.cols, T(0));
}
// What a pass in time starts from: `before`, or zeros where it is null.
template <class T>
void start_state(View<const T> before, View<T> state) {
  if (!before) return clear(state);
  for (int64_t r = 0; r < state.rows; ++r) std::copy_n(before.row(r), state.cols, state.row(r));
}

// Of passes that carry a state [dk, dv] a head: operations for each product of a token, forwards and backwards. in:
// without documents; v: the one of values.
inline Cost state_cost(std::span<const Tensor> in, const Tensor& v, int64_t heads, int64_t dk, double forward,
                       double backward) {
  const int64_t dv = v.cols() / heads;
  const auto products = static_cast<double>(v.rows() * heads * dk * dv), size = static_cast<double>(size_of(v.dtype()));
  int64_t inputs = 0;
  for (const Tensor& t : in) inputs += t.defined() ? t.numel() : 0;
  const double read = size * static_cast<double>(inputs),
               written = size * static_cast<double>(v.numel() + v.dim(0) * heads * dk * dv);
  return {forward * products, backward * products, read + written, 2 * read + written};
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

// How many of so many items run at once.
inline int64_t at_once(int64_t items) { return in_parallel() ? 1 : std::min<int64_t>(items, threads()); }
// f(item, `size` numbers) for items that don't touch each other: one piece of them for each thread, which can't be seen
// in the result, and the memory from the pool of the thread that runs the op.
template <class T, class F>
void for_each_with_memory(int64_t items, int64_t size, F&& f) {
  const int64_t pieces = at_once(items);
  if (pieces == 0) return;
  const int64_t piece = (items + pieces - 1) / pieces;
  const Tensor memory = Tensor::dense({pieces, size}, dtype_of<T>);
  parallel_for(items, piece, [&](int64_t from, int64_t to) {
    for (int64_t i = from; i < to; ++i) f(i, memory.view<T>().row(from / piece));
  });
}

// Tokens [from, to) of a view, in time or against it; null stays null.
template <class E>
View<E> cut(const View<E>& x, int64_t from, int64_t to, bool reverse = false) {
  if (!x) return x;
  return reverse ? View<E>{x.row(to - 1), to - from, x.cols, -x.stride} : x.part(from, to - from);
}

// exp of log decays [T, n] (or of [1, 1] for all tokens), and a row of ones after it: what lies behind the last token
// doesn't decay.
template <class T>
Tensor linear_decays(View<const T> log_decay, int64_t tokens) {
  const int64_t n = log_decay.cols;
  const Tensor a = Tensor::dense({tokens + 1, n}, dtype_of<T>);
  const View<T> y = a.view<T>();
  if (log_decay.rows < tokens) {
    kernel::pointwise<T>(Pointwise::exp, log_decay, y.part(0, 1));
    std::fill_n(y.data, tokens, *y.data);
  } else if (n == 1) {
    for (int64_t t = 0; t < tokens; ++t) y.data[t] = *log_decay.row(t);
    const View<T> row{y.data, 1, tokens, tokens};
    kernel::pointwise<T>(Pointwise::exp, row, row);
  } else {
    kernel::pointwise<T>(Pointwise::exp, log_decay, y.part(0, tokens));
  }
  std::fill_n(y.row(tokens), n, T(1));
  return a;
}

// a . b, in eight sums side by side.
template <class T>
T dot(const T* a, const T* b, int64_t n) {
  constexpr int64_t kSums = 8;
  T part[kSums] = {}, sum = 0;
  int64_t i = 0;
  for (; i + kSums <= n; i += kSums)
    for (int64_t l = 0; l < kSums; ++l) part[l] += a[i + l] * b[i + l];
  for (; i < n; ++i) sum += a[i] * b[i];
  for (int64_t l = 0; l < kSums; ++l) sum += part[l];
  return sum;
}

}  // namespace effllm
