// What sequential cells share: the product of a step, the sequences that a thread takes, rows of one step.
#pragma once
#include <algorithm>

#include "autodiff/float_op.h"
#include "cores/common/segments.h"
#include "kernels/dense.h"
#include "kernels/gemm.h"
#include "kernels/parallel.h"
#include "kernels/pointwise.h"
#include "tensor/tensor.h"

namespace effllm {

// y (+)= x w, or x w^T for w [out, in] with `transposed`, for the x of one step after another. Over several steps w is
// laid out once; a row of y then has the same bits whatever rows are beside it.
template <class T>
class StepProduct {
 public:
  StepProduct(View<const T> w, bool transposed, int64_t steps) : w_(w), transposed_(transposed) {
    if (steps < kWorthPacking) return;
    const int64_t k = transposed ? w.cols : w.rows, n = transposed ? w.rows : w.cols;
    packed_ = Tensor::dense({kernel::packed_size<T>(k, n)}, dtype_of<T>);
    memory_ = packed_.data<T>();
    kernel::pack<T>(transposed, w, memory_);
  }
  void operator()(View<const T> x, View<T> y, bool add = false) const {
    if (memory_) return kernel::multiply_packed<T>(x, memory_, y, add);
    parallel_gemm<T>(x, false, w_, transposed_, y, add);
  }
  // f(from, n): sequences [from, from + n). All of them where threads have shards of their own or the product is cut
  // instead; how many otherwise is up to the threads, and nothing depends on it.
  template <class F>
  void for_sequences(int64_t batch, F&& f) const {
    const int64_t parts = !memory_ || in_parallel() ? 1 : threads();
    parallel_for(batch, std::max<int64_t>(1, (batch + parts - 1) / parts),
                 [&](int64_t from, int64_t to) { f(from, to - from); });
  }

 private:
  static constexpr int64_t kWorthPacking = 8;  // steps
  View<const T> w_;
  bool transposed_;
  Tensor packed_;
  T* memory_ = nullptr;
};

// Token t of sequences [from, from + n) of x [B, T, C].
template <class T>
View<T> rows_of_step(const Tensor& x, int64_t from, int64_t n, int64_t t) {
  const View<T> v = x.view<T>();
  const int64_t tokens = x.dim(1);
  return {v.row(from * tokens + t), n, v.cols, tokens * v.stride};
}
template <class T>
View<T> rows_of_state(const Tensor& x, int64_t from, int64_t n) {
  return x.view<T>().part(from, n);
}

// Whether token t of sequence b goes on from a state before it.
inline bool goes_on(const DocumentStarts& starts, int64_t b, int64_t t) { return !starts.row(b) || !starts.row(b)[t]; }

// Row of the state before token t of sequence b: of `all` [B, T, W], or of `first` [B, W]; null where there is none.
template <class T>
const T* row_before(const Tensor& all, const Tensor& first, int64_t b, int64_t t) {
  return t > 0 ? all.view<T>().row(b * all.dim(1) + t - 1) : first.defined() ? first.view<T>().row(b) : nullptr;
}

// What each token saw as h_{t-1}, [B * T, W]: h one token later, h0 or zeros at first tokens.
template <class T>
Tensor states_before(const Tensor& h, const Tensor& h0, const DocumentStarts& starts) {
  const int64_t batch = h.dim(0), tokens = h.dim(1), width = h.cols();
  const Tensor before = Tensor::empty({batch * tokens, width}, h.dtype());
  parallel_for(batch, 1, [&](int64_t b, int64_t) {
    for (int64_t t = 0; t < tokens; ++t) {
      const T* from = goes_on(starts, b, t) ? row_before<T>(h, h0, b, t) : nullptr;
      T* to = before.view<T>().row(b * tokens + t);
      from ? std::copy_n(from, width, to) : std::fill_n(to, width, T(0));
    }
  });
  return before;
}

// All steps of a cell in time: step(b, t, what the product gives to the sums of its gates, null where no state is
// before). Then `last` [B, W] is the last row of h [B, T, W].
template <class T, class Step>
void run_steps(const StepProduct<T>& product, const Tensor& h, const Tensor& h0, const DocumentStarts& starts,
               int64_t sums_width, const Tensor& last, Step&& step) {
  const int64_t batch = h.dim(0), tokens = h.dim(1);
  const Tensor sums = Tensor::empty({batch, sums_width}, h.dtype());
  product.for_sequences(batch, [&](int64_t from, int64_t n) {
    for (int64_t t = 0; t < tokens; ++t) {
      const bool any = t > 0 || h0.defined();
      if (any)
        product(t > 0 ? rows_of_step<T>(h, from, n, t - 1) : rows_of_state<T>(h0, from, n),
                rows_of_state<T>(sums, from, n));
      for (int64_t b = from; b < from + n; ++b)
        step(b, t, any && goes_on(starts, b, t) ? sums.view<T>().row(b) : nullptr);
    }
    for (int64_t b = from; b < from + n; ++b)
      std::copy_n(h.view<T>().row((b + 1) * tokens - 1), h.cols(), last.view<T>().row(b));
  });
}

// The steps back: `given` [B, T, W], undefined for zeros, joins the running gradient d_h [B, W], step(b, t) follows,
// and hand(from, n, t, rows of d_h) puts what the state before gets there. `to_first`: whether h0 gets any.
template <class T, class Step, class Hand>
void run_steps_back(const StepProduct<T>& product, int64_t tokens, const Tensor& given, const Tensor& d_h,
                    const DocumentStarts& starts, bool to_first, Step&& step, Hand&& hand) {
  const View<T> dh = d_h.view<T>();
  product.for_sequences(dh.rows, [&](int64_t from, int64_t n) {
    const View<T> some = dh.part(from, n);
    for (int64_t t = tokens - 1; t >= 0; --t) {
      if (given.defined()) kernel::sum<T>(some, rows_of_step<T>(given, from, n, t), some);
      for (int64_t b = from; b < from + n; ++b) step(b, t);
      if (t == 0 && !to_first) break;
      hand(from, n, t, some);
      for (int64_t b = from; b < from + n; ++b)
        if (!goes_on(starts, b, t)) std::fill_n(dh.row(b), dh.cols, T(0));
    }
  });
}

// The weight laid out for products and the sums of a step; backwards also the states that tokens saw.
inline Scratch cell_scratch(const TensorSpec& in, const Shape& w) {
  const Shape& x = in.shape;
  const int64_t packed = kernel::packed_size<float>(w[1], w[0]);
  return scratch_of(packed + x[0] * w[0], packed + x.rows() * w[1] + 2 * x[0] * w[1], in.dtype);
}

template <class T>
void put_gradient(const Tensor& g, const Sink& s) {
  if (!s) return;
  s.accumulate ? kernel::sum<T>(g.view<T>(), s.into.view<T>(), s.into.view<T>()) : copy(g, s.into);
}

// The running gradient of a state, [B, W]: that of the last state, or zeros.
inline Tensor running_gradient(const Tensor& last, const Shape& shape, DType type) {
  if (!last.defined()) return Tensor::zeros(shape, type);
  const Tensor running = Tensor::empty(shape, type);
  copy(last, running);
  return running;
}

}  // namespace effllm
