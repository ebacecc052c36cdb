// What sequential cells share: the product of a step, the sequences that a thread takes, rows of one step.
#pragma once
#include <algorithm>

#include "autodiff/op.h"
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
    parallel_gemm<T>(false, transposed_, x.rows, y.cols, x.cols, x.data, x.stride, w_.data, w_.stride, y.data, y.stride,
                     add);
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

// What each token saw as h_{t-1}, [B * T, W]: h one token later, h0 or zeros at first tokens.
template <class T>
Tensor states_before(const Tensor& h, const Tensor& h0, const DocumentStarts& starts) {
  const int64_t batch = h.dim(0), tokens = h.dim(1), width = h.cols();
  const Tensor before = Tensor::empty({batch * tokens, width}, h.dtype());
  const View<const T> from = h.view<T>();
  const View<T> to = before.view<T>();
  parallel_for(batch, 1, [&](int64_t b, int64_t) {
    for (int64_t t = 0; t < tokens; ++t) {
      const int64_t row = b * tokens + t;
      if (goes_on(starts, b, t) && (t > 0 || h0.defined()))
        std::copy_n(t > 0 ? from.row(row - 1) : h0.view<T>().row(b), width, to.row(row));
      else
        std::fill_n(to.row(row), width, T(0));
    }
  });
  return before;
}

// dR (+)= d^T h_before over all steps at once.
template <class T>
void weight_gradient(View<const T> d, const Tensor& before, View<T> into, bool add) {
  const View<const T> h = before.view<T>();
  parallel_gemm<T>(true, false, d.cols, h.cols, d.rows, d.data, d.stride, h.data, h.stride, into.data, into.stride,
                   add);
}

template <class T>
void put_gradient(const Tensor& g, const Sink& s) {
  if (!s.into.defined()) return;
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
