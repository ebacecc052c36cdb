// What the backward passes over one head of a sequence share: where gradients go, and the state that a pass carries.
#pragma once
#include <algorithm>

#include "kernels/pointwise.h"
#include "tensor/tensor.h"

namespace effllm {

// Tokens between the states at which the running sum of a decay's gradient is anchored.
inline constexpr int64_t kAnchorDistance = 64;

// A gradient to write, or to add to; null data: not wanted.
template <class T>
struct GradientView {
  View<T> into;
  bool add = false;
};

// For passes that overwrite: the gradient's own memory, or `own`, made for it where the gradient is to be added to or
// is not wanted.
template <class T>
View<T> destination(const GradientView<T>& g, Tensor& own, int64_t rows, int64_t cols) {
  if (g.into && !g.add) return g.into;
  own = Tensor::empty({rows, cols}, dtype_of<T>);
  return own.view<T>();
}
// Adds what went to `own` where the gradient is wanted.
template <class T>
void deliver(const Tensor& own, const GradientView<T>& g) {
  if (own.defined() && g.into) kernel::scale<T>(T(1), own.view<T>(), g.into, true);
}

// The state [dk, dv] of the pass that runs, dense, as it is or transposed.
template <class T>
class PassState {
 public:
  PassState(int64_t keys, int64_t values)
      : keys_(keys), values_(values), memory_(Tensor::dense({keys * values}, dtype_of<T>)), data_(memory_.data<T>()) {}
  T* data() const { return data_; }
  int64_t size() const { return keys_ * values_; }
  void clear() const { std::fill_n(data_, size(), T(0)); }
  // Into `to` [dk, dv] from the state as it is, row i times factor(i).
  template <class F>
  void put(const GradientView<T>& to, F&& factor) const {
    for (int64_t i = 0; i < keys_; ++i) {
      T* y = to.into.row(i);
      const T a = factor(i);
      for (int64_t j = 0; j < values_; ++j) y[j] = (to.add ? y[j] : T(0)) + a * data_[i * values_ + j];
    }
  }
  // From s [dk, dv], zero where it is null.
  void set(View<const T> s, bool transposed) const {
    if (!s) return clear();
    for (int64_t i = 0; i < keys_; ++i)
      for (int64_t j = 0; j < values_; ++j) data_[transposed ? j * keys_ + i : i * values_ + j] = s.row(i)[j];
  }

 private:
  int64_t keys_, values_;
  Tensor memory_;
  T* data_;
};

}  // namespace effllm
