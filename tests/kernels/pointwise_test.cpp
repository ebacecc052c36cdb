#include <doctest/doctest.h>

#include "kernels/everywhere.h"
#include "kernels/pointwise.h"

using namespace effllm;
using namespace effllm::test;

TEST_CASE_TEMPLATE("pointwise kernels: elu1 of what is not a number is none", T, float, double) {
  T x[] = {std::numeric_limits<T>::quiet_NaN(), 0, -1, 2}, y[4];
  kernel::pointwise<T>(Pointwise::elu1, {x, 1, 4, 4}, {y, 1, 4, 4});
  CHECK(std::isnan(y[0]));
  CHECK(y[1] == 1);
}

TEST_CASE_TEMPLATE("pointwise kernels: log of what has none is that of the smallest normal number, without a slope", T,
                   float, double) {
  constexpr T kLeast = std::numeric_limits<T>::min();
  T x[] = {0, -1, kLeast / 2, kLeast, 2 * kLeast, T(0.3), 7}, dy[] = {1, 1, 1, 1, 1, 1, 1}, y[7], dx[7];
  kernel::pointwise<T>(Pointwise::log, {x, 1, 7, 7}, {y, 1, 7, 7});
  kernel::pointwise_backward<T>(Pointwise::log, {x, 1, 7, 7}, {dy, 1, 7, 7}, {dx, 1, 7, 7}, false);
  for (int i = 0; i < 7; ++i) {
    CHECK(y[i] == doctest::Approx(std::log(std::max(x[i], kLeast))).epsilon(1e-6));
    CHECK(dx[i] == doctest::Approx(x[i] > kLeast ? 1 / x[i] : 0).epsilon(1e-6));
  }
}

TEST_CASE("pointwise kernels: every function and derivative has one result at every size") {
  expect_one_result(0, []<class T>(int64_t n, Layout at, bool add) {
    const Rows<T> x(2, n, at, 1, 2), dy(2, n, at, 2);
    Results<T> all;
    for (int f = 0; f < static_cast<int>(Pointwise::log); ++f) {  // log has a case of its own
      Rows<T> y(2, n, {at.pad, at.offset}, 3), dx(2, n, at, 4);
      kernel::pointwise<T>(static_cast<Pointwise>(f), x.view(), y.view());
      kernel::pointwise_backward<T>(static_cast<Pointwise>(f), x.view(), dy.view(), dx.view(), add);
      all.insert(all.end(), {{y}, {dx, add}});
    }
    return all;
  });
}

TEST_CASE("pointwise kernels: products, sums and rows have one result at every size") {
  expect_one_result(0, []<class T>(int64_t n, Layout at, bool add) {
    const Rows<T> a(3, n, at, 1), b(3, n, {at.pad, at.offset}, 2);
    Rows<T> row(1, n, at, 3), column(1, n, at, 4), product(3, n, at, 5), scaled(3, n, at, 5), sum(3, n, at, 6),
        shifted(3, n, at, 7);
    kernel::multiply<T>(T(0.75), a.view(), b.view(), product.view(), add);
    kernel::scale<T>(T(0.75), a.view(), scaled.view(), add);
    kernel::sum<T>(a.view(), b.view(), sum.view());
    kernel::add_row<T>(a.view(), row.data(), shifted.view());
    kernel::column_sum<T>(a.view(), column.data(), add);
    return Results<T>{{product, add}, {scaled, add}, {sum}, {shifted}, {column, add}};
  });
}

TEST_CASE("pointwise kernels: swiglu and its gradient have one result at every size") {
  expect_one_result(0, []<class T>(int64_t n, Layout at, bool add) {
    const Rows<T> x(2, 2 * n, at, 1), dy(2, n, at, 2);
    Rows<T> y(2, n, at, 3), dx(2, 2 * n, at, 4);
    kernel::swiglu<T>(x.view(), y.view());
    kernel::swiglu_backward<T>(x.view(), dy.view(), dx.view(), add);
    return Results<T>{{y}, {dx, add}};
  });
}
