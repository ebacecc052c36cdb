#include <doctest/doctest.h>

#include "kernels/everywhere.h"
#include "kernels/norm.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr double kEps = 1e-3;

}  // namespace

TEST_CASE("norm kernels: rms_norm over two groups has one result at every width, with a weight and without") {
  expect_one_result(1, []<class T>(int64_t width, Layout at, bool add) {
    const Rows<T> x(3, 2 * width, at, 1), dy(3, 2 * width, {at.pad, at.offset}, 2);
    Rows<T> w(1, width, at, 3);
    Results<T> all;
    for (T* weight : {w.data(), static_cast<T*>(nullptr)}) {
      Rows<T> y(3, 2 * width, at, 4), rstd(1, 6, at, 5), dx(3, 2 * width, at, 6), dw(1, width, at, 7);
      kernel::rms_norm<T>(x.view(), weight, width, T(kEps), y.view(), rstd.data());
      kernel::rms_norm_backward<T>(x.view(), weight, width, rstd.data(), dy.view(), dx.view(), add, dw.data(), add);
      all.insert(all.end(), {{y}, {rstd, false, 4}, {dx, add, 20}, {dw, add, 4}});
    }
    return all;
  });
}

TEST_CASE("norm kernels: layer_norm has one result at every width, with a bias and without") {
  expect_one_result(2, []<class T>(int64_t n, Layout at, bool add) {
    const Rows<T> x(3, n, at, 1), dy(3, n, {at.pad, at.offset}, 2);
    Rows<T> w(1, n, at, 3), b(1, n, at, 4), mean(1, 3, at, 6), rstd(1, 3, at, 7);
    Results<T> all;
    for (T* bias : {b.data(), static_cast<T*>(nullptr)}) {
      Rows<T> y(3, n, at, 5);
      kernel::layer_norm<T>(x.view(), w.data(), bias, n, T(kEps), y.view(), mean.data(), rstd.data());
      all.push_back({y, false, 20});
    }
    Rows<T> dx(3, n, at, 8), dw(1, n, at, 9), db(1, n, at, 10);
    kernel::layer_norm_backward<T>(x.view(), w.data(), n, mean.data(), rstd.data(), dy.view(), dx.view(), add,
                                   dw.data(), add, db.data(), add);
    all.insert(all.end(), {{mean}, {rstd, false, 20}, {dx, add, 200}, {dw, add, 20}, {db, add}});
    return all;
  });
}
