#include <doctest/doctest.h>

#include <vector>

#include "kernels/everywhere.h"
#include "kernels/linear_attention.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr int64_t kSteps = 5;
constexpr uint8_t kStarts[kSteps] = {0, 0, 1, 0, 1};

// Positive numbers, so that no sum of keys comes near zero.
template <class T>
void make_positive(Rows<T>& x) {
  for (int64_t r = 0; r < x.view().rows; ++r)
    for (int64_t c = 0; c < x.view().cols; ++c) x.view().row(r)[c] = std::abs(x.view().row(r)[c]) + T(0.1);
}

}  // namespace

TEST_CASE("linear attention kernels: the sum of keys has one result at every width") {
  expect_one_result(1, []<class T>(int64_t n, Layout at, bool add) {
    Rows<T> q(kSteps, n, at, 1), k(kSteps, n, at, 2), z(1, n, at, 8);
    for (Rows<T>* x : {&q, &k, &z}) make_positive(*x);
    const Rows<T> o(kSteps, n + 1, at, 3), dy(kSteps, n + 1, at, 4);
    Rows<T> y(kSteps, n + 1, at, 5), inverse(kSteps, 1, at, 6), dq(kSteps, n, at, 7), d_z(1, n, at, 8),
        dk(kSteps, n, at, 9), d_o(kSteps, n + 1, at, 10), z0 = z;
    std::vector<T> scratch(kSteps);
    const Normaliser<T> p{q.view(), k.view(), o.view(), kStarts, T(0.25), inverse.view()};
    kernel::normaliser<T>(p, y.view(), z.data());
    kernel::normaliser_backward<T>(
        p, {dy.view(), dq.view(), dk.view(), d_o.view(), add, add, add, z0.data(), d_z.data(), scratch.data()});
    return Results<T>{{y, false, 4}, {z, false, 4}, {d_o, add, 4}, {dq, add, 20}, {dk, add, 20}, {d_z, false, 20}};
  });
}

TEST_CASE("linear attention kernels: the bonus has one result at every width") {
  expect_one_result(1, []<class T>(int64_t n, Layout at, bool add) {
    const Rows<T> q(3, n, at, 1), k(3, n, at, 2), v(3, n + 1, at, 3), o(3, n + 1, at, 4), dy(3, n + 1, at, 5);
    Rows<T> u(1, n, at, 6), y(3, n + 1, at, 7), d_q(3, n, at, 8), d_k(3, n, at, 9), d_v(3, n + 1, at, 10),
        d_u(1, n, at, 11);
    const Bonus<T> p{q.view(), k.view(), v.view(), u.data()};
    kernel::bonus<T>(p, o.view(), y.view());
    kernel::bonus_backward<T>(p, {dy.view(), d_q.view(), d_k.view(), d_v.view(), add, add, add, d_u.data()});
    return Results<T>{{y, false, 20}, {d_q, add, 20}, {d_k, add, 20}, {d_v, add, 20}, {d_u, true, 20}};
  });
}

TEST_CASE("linear attention kernels: Taylor features have one result at every width") {
  expect_one_result(1, []<class T>(int64_t f, Layout at, bool add) {
    const int64_t width = 1 + f + f * (f + 1) / 2;
    const Rows<T> x(2, f, at, 1), dy(2, width, at, 2);
    Rows<T> y(2, width, at, 3), dx(2, f, at, 4);
    kernel::taylor_features<T>(x.view(), T(0.75), T(1.5), T(0.5), y.view());
    kernel::taylor_features_backward<T>(x.view(), T(0.75), T(1.5), T(0.5), dy.view(), dx.view(), add);
    return Results<T>{{y}, {dx, add, 20}};
  });
}
