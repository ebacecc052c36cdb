#include "ops/gated_skip.h"

#include <doctest/doctest.h>

#include <cmath>

#include "kernels/gated_skip.h"
#include "kernels/rows.h"
#include "ops/op_checks.h"

using namespace effllm;
using namespace effllm::test;

namespace {

const Function kSkip = [](const Tensors& x) { return std::vector{gated_skip(x[0], x[1], x[2], x[3])}; };

double sigmoid_of(double z) { return 1 / (1 + std::exp(-z)); }

}  // namespace

TEST_CASE_TEMPLATE("gated_skip kernels: at every width", T, float, double) {
  for_each_size(1, [](int64_t width, Layout at) {
    const Rows<T> o(3, 2 * width, at, 1), x(3, 2 * width, at, 2), z(3, 2 * width, at, 3), dy(3, 2 * width, at, 4);
    Rows<T> d(1, 2, at, 5), y(3, 2 * width, at, 6);
    const auto sum = [&](int64_t r, int64_t c) { return o.at(r, c) + d.at(0, c / width) * x.at(r, c); };
    const auto silu = [&](int64_t r, int64_t c) { return z.at(r, c) * sigmoid_of(z.at(r, c)); };
    kernel::gated_skip<T>(o.view(), x.view(), z.view(), d.data(), 2, y.view());
    CHECK(y.error([&](int64_t r, int64_t c) { return sum(r, c) * silu(r, c); }) < kTolerance<T>);
    for (bool add : {false, true}) {
      Rows<T> d_o(3, 2 * width, at, 7), d_x(3, 2 * width, at, 8), d_z(3, 2 * width, at, 9), d_d(1, 2, at, 10);
      kernel::gated_skip_backward<T>({o.view(), x.view(), z.view(), dy.view(), d.data(), 2, d_o.view(), d_x.view(),
                                      d_z.view(), add, add, add, d_d.data(), add});
      const auto before = [&](const Rows<T>& m, int64_t r, int64_t c) { return add ? m.before(r, c) : 0; };
      CHECK(d_o.error([&](int64_t r, int64_t c) { return before(d_o, r, c) + dy.at(r, c) * silu(r, c); }) <
            kTolerance<T>);
      CHECK(d_x.error([&](int64_t r, int64_t c) {
        return before(d_x, r, c) + d.at(0, c / width) * dy.at(r, c) * silu(r, c);
      }) < kTolerance<T>);
      CHECK(d_z.error([&](int64_t r, int64_t c) {
        const double s = sigmoid_of(z.at(r, c));
        return before(d_z, r, c) + dy.at(r, c) * sum(r, c) * (s + z.at(r, c) * s * (1 - s));
      }) < kTolerance<T>);
      CHECK(d_d.error([&](int64_t, int64_t g) {
        double all = before(d_d, 0, g);
        for (int64_t r = 0; r < 3; ++r)
          for (int64_t c = g * width; c < (g + 1) * width; ++c) all += dy.at(r, c) * silu(r, c) * x.at(r, c);
        return all;
      }) < 4 * kTolerance<T>);
    }
  });
}

TEST_CASE("gated_skip: gradients, costs, precision, threads, refused shapes") {
  const Shape s{2, 3, 6};
  const Tensor o = random(s, 1), x = random(s, 2), z = random(s, 3);
  for (int64_t groups : {1, 3, 6}) expect_sound(kSkip, {o, x, z, random({groups}, 4)});
  const Shape large{3, 70, 24};
  expect_same_bits_on_threads(kSkip, {random(large, 1), random(large, 2), random(large, 3), random({4}, 4)});
  CHECK_THROWS_AS(gated_skip(o, x, z, random({4}, 4)), ShapeError);
  CHECK_THROWS_AS(gated_skip(o, random({2, 3, 4}, 1), z, random({3}, 4)), ShapeError);
}
