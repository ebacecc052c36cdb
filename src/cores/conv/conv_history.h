// The history of a causal filter: which inputs the next call will see before its first token.
#pragma once
#include <algorithm>
#include <cstdint>

#include "cores/common/segments.h"

namespace effllm {

inline constexpr int64_t kNoToken = INT64_MIN;

// f(row of the new history [width - 1], s): it takes the input of token s of this call (of the old history where
// s < 0), or nothing where s is kNoToken. starts: the row's document starts or null (see segments.h).
template <class F>
void for_new_history(const uint8_t* starts, int64_t tokens, int64_t width, F&& f) {
  const int64_t begin = document_begin(starts, tokens - 1);
  const bool from_before = begin == 0 && continues(starts);
  for (int64_t r = 0; r < width - 1; ++r) {
    const int64_t s = tokens - (width - 1) + r;
    f(r, s >= begin || from_before ? s : kNoToken);
  }
}

// The new history `now` of x, both [.., n] of one sequence; a null `before` is zero.
template <class T>
void keep_history(const uint8_t* starts, View<const T> x, View<const T> before, View<T> now) {
  const int64_t width = now.rows + 1;
  for_new_history(starts, x.rows, width, [&](int64_t r, int64_t s) {
    const T* source = s >= 0 ? x.row(s) : s != kNoToken && before ? before.row(now.rows + s) : nullptr;
    source ? std::copy_n(source, now.cols, now.row(r)) : std::fill_n(now.row(r), now.cols, T(0));
  });
}
// Its gradient d_now is added to those of x and the old history; null: not wanted.
template <class T>
void add_history_gradient(const uint8_t* starts, int64_t tokens, View<const T> d_now, View<T> dx, View<T> d_before) {
  for_new_history(starts, tokens, d_now.rows + 1, [&](int64_t r, int64_t s) {
    const View<T>& into = s >= 0 ? dx : d_before;
    if (s == kNoToken || !into) return;
    T* y = into.row(s >= 0 ? s : d_now.rows + s);
    for (int64_t k = 0; k < d_now.cols; ++k) y[k] += d_now.row(r)[k];
  });
}

}  // namespace effllm
