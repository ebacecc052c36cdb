#include "ops/gated_skip.h"

#include <doctest/doctest.h>

#include <cmath>

#include "kernels/everywhere.h"
#include "kernels/gated_skip.h"
#include "ops/op_checks.h"

using namespace effllm;
using namespace effllm::test;

namespace {

const Function kSkip = [](const Tensors& x) { return std::vector{gated_skip(x[0], x[1], x[2], x[3])}; };

}  // namespace

TEST_CASE("gated_skip: (o + d x) silu(z), with a d for each group of columns") {
  const Tensor o = random({2, 3, 6}, 1), x = random({2, 3, 6}, 2), z = random({2, 3, 6}, 3), d = random({2}, 4),
               y = gated_skip(o, x, z, d);
  for (int64_t r = 0; r < 6; ++r)
    for (int64_t c = 0; c < 6; ++c) {
      const double silu = at(z, r, c) / (1 + std::exp(-at(z, r, c)));
      CHECK(std::abs(at(y, r, c) - (at(o, r, c) + at(d, 0, c / 3) * at(x, r, c)) * silu) < 1e-14);
    }
}

TEST_CASE("gated_skip kernels: one result at every width") {
  expect_one_result(1, []<class T>(int64_t width, Layout at, bool add) {
    const Rows<T> o(3, 2 * width, at, 1), x(3, 2 * width, at, 2), z(3, 2 * width, at, 3), dy(3, 2 * width, at, 4);
    Rows<T> d(1, 2, at, 5), y(3, 2 * width, at, 6), d_o(3, 2 * width, at, 7), d_x(3, 2 * width, at, 8),
        d_z(3, 2 * width, at, 9), d_d(1, 2, at, 10);
    kernel::gated_skip<T>(o.view(), x.view(), z.view(), d.data(), 2, y.view());
    kernel::gated_skip_backward<T>({o.view(), x.view(), z.view(), dy.view(), d.data(), 2, d_o.view(), d_x.view(),
                                    d_z.view(), add, add, add, d_d.data(), add});
    return Results<T>{{y}, {d_o, add}, {d_x, add}, {d_z, add}, {d_d, add, 4}};
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
