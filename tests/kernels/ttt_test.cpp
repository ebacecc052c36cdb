#include <doctest/doctest.h>

#include "kernels/everywhere.h"
#include "kernels/ttt.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr double kEps = 0.05;

}  // namespace

TEST_CASE("ttt kernel: the inner gradient and the gradient of it have one result at every width") {
  expect_one_result(1, []<class T>(int64_t n, Layout at, bool add) {
    const Rows<T> z(3, n, at, 1), k(3, n, at, 2), v(3, n, at, 3), eta(3, 1, at, 4), d_a(3, n, at, 7);
    Rows<T> weight(1, n, at, 5), bias(1, n, at, 6), a(3, n, at, 9), dz(3, n, at, 10), de(3, n, at, 11),
        d_eta(3, 1, at, 12), d_weight(1, n, at, 13), d_bias(1, n, at, 14);
    const TttRows<T> rows{z.view(), k.view(), v.view(), eta.view(), weight.data(), bias.data(), static_cast<T>(kEps)};
    kernel::ttt_gradient<T>(rows, a.view());
    kernel::ttt_gradient_backward<T>(
        rows, {d_a.view(), dz.view(), de.view(), d_eta.view(), add, d_weight.data(), d_bias.data()});
    Results<T> all{{a, false, 10},   {dz, false, 25},      {de, false, 25},
                   {d_eta, add, 25}, {d_weight, true, 25}, {d_bias, true, 25}};
    Rows<T> other_z(3, n, at, 10), other_e(3, n, at, 11);  // where nobody wants that of eta
    kernel::ttt_gradient_backward<T>(
        rows, {d_a.view(), other_z.view(), other_e.view(), {}, false, d_weight.data(), d_bias.data()});
    all.insert(all.end(), {{other_z, false, 25}, {other_e, false, 25}});
    return all;
  });
}

TEST_CASE("ttt kernel: tokens read the steps up to their own, with one result") {
  for (int64_t n : {1, 7, 16, 33, 64, 100, 129})
    for (int64_t rows : {1, 2, 5, 16}) {
      INFO(rows, "x", n);
      expect_one_result([&]<class T>(Layout at, bool) {
        const Rows<T> scores(rows, rows, at, 1), a(rows, n, at, 2), sum(rows, n, at, 3);
        Rows<T> bias(1, n, at, 4), tau(1, rows, at, 5);
        Results<T> all;
        for (const View<const T>& sums : {sum.view(), View<const T>{}}) {
          Rows<T> y(rows, n, at, 6);
          kernel::ttt_read<T>({scores.view(), a.view(), sums, bias.data(), tau.data(), y.view()});
          all.push_back({y, true, 10});
        }
        return all;
      });
    }
}
