#include "ops/offset_scale.h"

#include <doctest/doctest.h>

#include "support/tensors.h"

using namespace effllm;
using namespace effllm::test;

TEST_CASE("offset_scale: each part is z times its scales plus its offsets, gradients, shapes") {
  const Poison poison;
  const Tensor z = random({2, 3, 5}, 1), w = random({4, 5}, 2), b = random({4, 5}, 3), y = offset_scale(z, w, b);
  CHECK(y.shape() == Shape{2, 3, 20});
  for (int64_t r = 0; r < 6; ++r)
    for (int64_t i = 0; i < 4; ++i)
      for (int64_t c = 0; c < 5; ++c)
        CHECK(at(y, r, i * 5 + c) == doctest::Approx(at(z, r, c) * at(w, i, c) + at(b, i, c)).epsilon(1e-14));
  const auto f = [](const Tensors& in) { return std::vector{offset_scale(in[0], in[1], in[2])}; };
  CHECK(gradient_error(f, {z, w, b}) < 1e-8);
  const auto to32 = [](const Tensor& t) { return to_dtype(t, DType::f32); };
  CHECK(max_diff(offset_scale(to32(z), to32(w), to32(b)), y) < 1e-6);
  CHECK_THROWS_AS(offset_scale(z, w, random({3, 5}, 1)), ShapeError);
  CHECK_THROWS_AS(offset_scale(z, random({4, 6}, 1), random({4, 6}, 1)), ShapeError);
}
