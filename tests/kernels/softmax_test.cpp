#include "kernels/softmax.h"

#include <doctest/doctest.h>

#include "kernels/everywhere.h"

using namespace effllm;
using namespace effllm::test;

TEST_CASE("softmax kernels: one result at every width") {
  expect_one_result(1, []<class T>(int64_t n, Layout at, bool add) {
    const Rows<T> x(3, n, at, 1), dy(3, n, {at.pad, at.offset}, 2);
    Rows<T> y(3, n, at, 3), dx(3, n, at, 4);
    kernel::softmax<T>(x.view(), y.view(), nullptr);
    kernel::softmax_backward<T>(y.view(), dy.view(), dx.view(), add);
    return Results<T>{{y, false, 4}, {dx, add, 8}};
  });
}
