#include "recurrence/gla_pass.h"

#include "recurrence/heads.h"

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
void run_tokens(GlaPass<T> pass, View<const T> other, int64_t from, int64_t to, bool reverse) {
  const auto take = [&](auto& x) { x = cut(x, from, to, reverse); };
  pass.steps = to - from;
  take(pass.x1);
  take(pass.x2);
  take(pass.x3);
  take(pass.a);
  take(pass.y);
  take(other);
  other ? run_both(pass, other) : kernels<T>().gla(pass);
}

template void run_tokens(GlaPass<float>, View<const float>, int64_t, int64_t, bool);
template void run_tokens(GlaPass<double>, View<const double>, int64_t, int64_t, bool);

}  // namespace effllm
