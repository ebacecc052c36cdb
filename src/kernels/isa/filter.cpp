// One causal filter shared by all columns of a sequence: y_t = sum of w[W-1-(t-s)] x_s over the sources s that t sees.
#include "kernels/isa/simd.h"
#include "kernels/short_conv.h"

namespace effllm::EFFLLM_ISA {
namespace {

constexpr int64_t kRows = 4;                        // outputs in a register tile
constexpr int64_t kVectors = kVectorRegisters / 8;  // vectors of columns in it

template <class T>
struct FilterArgs {
  View<const T> x;
  const T* w;  // the last tap weighs the newest source
  int64_t width;
  const int64_t* from;
  View<T> y;
  bool add;
};

// The sources that some row of [t, t + rows) sees, and the first that all of them see.
struct Reach {
  int64_t first, common;
};
inline Reach reach_of(const int64_t* from, int64_t t, int64_t rows) {
  Reach r{from[t], from[t]};
  for (int64_t i = 1; i < rows; ++i) {
    r.first = smaller(r.first, from[t + i]);
    r.common = larger(r.common, from[t + i]);
  }
  return r;
}

// Rows [t, t + kHeight) of kWide vectors of columns from c on; each sum runs from the oldest source to the newest.
template <int64_t kHeight, int64_t kWide, class T>
void filter_tile(const FilterArgs<T>& a, int64_t t, int64_t c) {
  constexpr int64_t n = kLanes<T>;
  const Reach reach = reach_of(a.from + t, 0, kHeight);
  Vec<T> sum[kHeight][kWide];
  for (int64_t r = 0; r < kHeight; ++r)
    for (int64_t v = 0; v < kWide; ++v) sum[r][v] = a.add ? load(a.y.row(t + r) + c + v * n) : Vec<T>{};
  for (int64_t s = reach.first; s < t + kHeight; ++s) {
    Vec<T> x[kWide];
    for (int64_t v = 0; v < kWide; ++v) x[v] = load(a.x.row(s) + c + v * n);
    const T* w = a.w + a.width - 1 - t + s;  // of row 0
    if (s >= reach.common && s <= t) {
      for (int64_t r = 0; r < kHeight; ++r)
        for (int64_t v = 0; v < kWide; ++v) sum[r][v] = mul_add(w[-r], x[v], sum[r][v]);
    } else {
      for (int64_t r = 0; r < kHeight; ++r)
        if (s >= a.from[t + r] && s <= t + r)
          for (int64_t v = 0; v < kWide; ++v) sum[r][v] = mul_add(w[-r], x[v], sum[r][v]);
    }
  }
  for (int64_t r = 0; r < kHeight; ++r)
    for (int64_t v = 0; v < kWide; ++v) store(a.y.row(t + r) + c + v * n, sum[r][v]);
}

template <int64_t kWide, class T>
void filter_columns(const FilterArgs<T>& a, int64_t c) {
  int64_t t = 0;
  for (; t + kRows <= a.y.rows; t += kRows) filter_tile<kRows, kWide>(a, t, c);
  for (; t < a.y.rows; ++t) filter_tile<1, kWide>(a, t, c);
}

template <class T>
void filter(View<const T> x, const T* w, int64_t width, const int64_t* from, View<T> y, bool add) noexcept {
  constexpr int64_t n = kLanes<T>;
  const FilterArgs<T> a{x, w, width, from, y, add};
  int64_t c = 0;
  for (; c + kVectors * n <= y.cols; c += kVectors * n) filter_columns<kVectors>(a, c);
  for (; c + n <= y.cols; c += n) filter_columns<1>(a, c);
  for (int64_t t = 0; t < (c < y.cols ? y.rows : 0); ++t)
    for (int64_t k = c; k < y.cols; ++k) {
      T sum = add ? y.row(t)[k] : T(0);
      for (int64_t s = from[t]; s <= t; ++s) sum = mul_add(w[width - 1 - t + s], x.row(s)[k], sum);
      y.row(t)[k] = sum;
    }
}

}  // namespace

void fill_filter() { EFFLLM_SET(filter, filter); }

}  // namespace effllm::EFFLLM_ISA
