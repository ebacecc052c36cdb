// Rows in groups of equal width, a factor or a product for each group; factors for each column.
#include "kernels/groups.h"
#include "kernels/isa/sums.h"

namespace effllm::EFFLLM_ISA {
namespace {

template <class T>
void scale_groups(View<const T> x, View<const T> factor, View<T> y, bool add) noexcept {
  const int64_t groups = factor.cols, width = groups ? x.cols / groups : 0;
  for (int64_t r = 0; r < x.rows; ++r)
    for (int64_t g = 0; g < groups; ++g) {
      const T f = factor.row(r)[g];
      const T* p = x.row(r) + g * width;
      put_products(y.row(r) + g * width, width, add, [=](int64_t c) { return Factors<T>{f, p[c]}; });
    }
}

template <class T>
void group_dot(View<const T> a, View<const T> b, View<T> y, bool add) noexcept {
  const int64_t groups = y.cols, width = groups ? a.cols / groups : 0;
  for (int64_t r = 0; r < a.rows; ++r)
    for (int64_t g = 0; g < groups; ++g) {
      const T *p = a.row(r) + g * width, *q = b.row(r) + g * width;
      const T sum = dot(p, q, width);
      T& o = y.row(r)[g];
      o = add ? o + sum : sum;
    }
}

template <class T>
void scale_columns(View<const T> x, const T* factor, const T* offset, View<T> y, bool add) noexcept {
  for (int64_t r = 0; r < x.rows; ++r) {
    const T* p = x.row(r);
    T* o = y.row(r);
    if (offset && !add) {
#pragma omp simd
      for (int64_t c = 0; c < x.cols; ++c) o[c] = mul_add(p[c], factor[c], offset[c]);
    } else {
      put_products(o, x.cols, add, [=](int64_t c) { return Factors<T>{p[c], factor[c]}; });
    }
  }
}

template <class T>
void column_dot(View<const T> a, View<const T> b, T* sum, bool add) noexcept {
  begun(sum, a.cols, add);
  for (int64_t r = 0; r < a.rows; ++r) {
    const T *p = a.row(r), *q = b.row(r);
#pragma omp simd
    for (int64_t c = 0; c < a.cols; ++c) sum[c] = mul_add(p[c], q[c], sum[c]);
  }
}

}  // namespace

void fill_groups() {
  EFFLLM_SET(scale_groups, scale_groups);
  EFFLLM_SET(group_dot, group_dot);
  EFFLLM_SET(scale_columns, scale_columns);
  EFFLLM_SET(column_dot, column_dot);
}

}  // namespace effllm::EFFLLM_ISA
