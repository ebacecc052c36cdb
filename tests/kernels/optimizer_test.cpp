#include <doctest/doctest.h>

#include "kernels/everywhere.h"
#include "kernels/optimizer.h"

using namespace effllm;
using namespace effllm::test;

TEST_CASE("optimizer kernels: adamw has one result at every size") {
  expect_one_result(0, []<class T>(int64_t n, Layout at, bool) {
    Rows<T> grad(1, n, at, 1), value(1, n, at, 2), m(1, n, at, 3, 0.1), v(1, n, {at.pad, at.offset}, 4, 0.3);
    for (int64_t i = 0; i < n; ++i) v.data()[i] = std::abs(v.data()[i]) + T(0.01f);
    kernel::adamw<T>({0.01, 0.9, 0.999, 1e-8, 0.1, 0.5, 1 - std::pow(0.9, 3), 1 - std::pow(0.999, 3)}, n, grad.data(),
                     value.data(), m.data(), v.data());
    const double roundings = sizeof(T) == 4 ? 0.075 : 0.01;
    return Results<T>{{value, false, roundings}, {m, false, roundings}, {v, false, roundings}};
  });
}

TEST_CASE_TEMPLATE("optimizer kernels: the first adamw step has length lr whatever the gradient", T, float, double) {
  for_each_isa([] {
    T grad[] = {T(1e-3), T(-1), T(1e3)}, value[] = {0, 0, 0}, m[] = {0, 0, 0}, v[] = {0, 0, 0};
    kernel::adamw<T>({0.01, 0.9, 0.999, 1e-15, 0, 1, 1 - 0.9, 1 - 0.999}, 3, grad, value, m, v);
    const double expected[] = {-0.01, 0.01, -0.01};
    for (int i = 0; i < 3; ++i)
      CHECK(std::abs(static_cast<double>(value[i]) - expected[i]) < (sizeof(T) == 4 ? 1e-8 : 1e-11));
  });
}

TEST_CASE_TEMPLATE("optimizer kernels: sums of squares are accumulated in f64", T, float, double) {
  for_each_size(0, [](int64_t n, Layout at) {
    Rows<T> x(1, n, at, 1);
    double expected = 0;
    for (int64_t i = 0; i < n; ++i) expected += x.at(0, i) * x.at(0, i);
    CHECK(kernel::sum_of_squares<T>(x.data(), n) == doctest::Approx(expected).epsilon(1e-14));
  });
  const std::vector<T> tenths(1 << 20, T(0.1));
  const double square = static_cast<double>(tenths[0]) * static_cast<double>(tenths[0]);
  for_each_isa([&] {
    CHECK(kernel::sum_of_squares<T>(tenths.data(), 1 << 20) == doctest::Approx((1 << 20) * square).epsilon(1e-10));
  });
}
