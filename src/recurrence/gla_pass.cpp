#include "recurrence/gla_pass.h"

namespace effllm {
namespace {

// The kernel's recurrence with decays on both sides, token by token: `other` decays what pass.a doesn't.
template <class T>
void run_both(const GlaPass<T>& p, View<const T> other) {
  const int64_t columns = p.x3.cols;
  for (int64_t t = 0; t < p.steps; ++t) {
    const bool by_rows = p.decay == Decay::key;
    const T *row_decay = (by_rows ? p.a : other).row(t), *column_decay = (by_rows ? other : p.a).row(t);
    const T* v = p.x3.row(t);
    T* y = p.y ? p.y.row(t) : nullptr;
    if (y && !p.add) std::fill_n(y, columns, T(0));
    for (int64_t i = 0; i < p.x1.cols; ++i) {
      const T q = p.x1.row(t)[i], k = p.x2.row(t)[i], a = row_decay[i];
      T* m = p.state + i * columns;
      for (int64_t j = 0; j < columns; ++j) {
        const T before = m[j];
        m[j] = a * column_decay[j] * before + k * v[j];
        if (y) y[j] += q * (p.exclusive ? before : m[j]);
      }
    }
  }
}

}  // namespace

template <class T>
Tensor linear_decay(View<const T> log_decay, int64_t tokens) {
  const int64_t n = log_decay.cols;
  const Tensor a = Tensor::dense({tokens + 1, n}, dtype_of<T>);
  const View<T> y = a.view<T>();
  if (log_decay.rows < tokens) {  // a constant
    const View<T> first = y.part(0, 1);
    kernels<T>().pointwise(Pointwise::exp, log_decay, first);
    std::fill_n(y.data, tokens, *y.data);
  } else if (n == 1) {
    for (int64_t t = 0; t < tokens; ++t) y.data[t] = *log_decay.row(t);
    const View<T> row{y.data, 1, tokens, tokens};
    kernels<T>().pointwise(Pointwise::exp, row, row);
  } else {
    kernels<T>().pointwise(Pointwise::exp, log_decay, y.part(0, tokens));
  }
  std::fill_n(y.row(tokens), n, T(1));
  return a;
}

template <class T>
void run_tokens(GlaPass<T> pass, View<const T> other, int64_t from, int64_t to, bool reverse) {
  const auto cut = [&]<class E>(View<E>& x) {
    if (!x) return;
    x = reverse ? View<E>{x.row(to - 1), to - from, x.cols, -x.stride} : x.part(from, to - from);
  };
  pass.steps = to - from;
  cut(pass.x1);
  cut(pass.x2);
  cut(pass.x3);
  cut(pass.a);
  cut(pass.y);
  cut(other);
  other ? run_both(pass, other) : kernels<T>().gla(pass);
}

template Tensor linear_decay(View<const float>, int64_t);
template Tensor linear_decay(View<const double>, int64_t);
template void run_tokens(GlaPass<float>, View<const float>, int64_t, int64_t, bool);
template void run_tokens(GlaPass<double>, View<const double>, int64_t, int64_t, bool);

}  // namespace effllm
