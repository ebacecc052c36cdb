#include "ops/latent_heads.h"

#include "ops/op_checks.h"

using namespace effllm;
using namespace effllm::test;

namespace {

const Function kBoth = [](const Tensors& x) {
  const auto [k, v] = latent_heads(x[0], x[1], 2, 3);
  return std::vector{k, v};
};

}  // namespace

TEST_CASE("latent_heads: every head has its own part of the key, the shared one and its value") {
  const Tensor kv = random({2, 3, 2 * (3 + 4)}, 1), shared = random({2, 3, 2}, 2);
  const auto [k, v] = latent_heads(kv, shared, 2, 3);
  REQUIRE(k.shape() == Shape{2, 3, 10});
  REQUIRE(v.shape() == Shape{2, 3, 8});
  for (int64_t r = 0; r < 6; ++r)
    for (int64_t h = 0; h < 2; ++h) {
      for (int64_t c = 0; c < 3; ++c) CHECK(at(k, r, h * 5 + c) == at(kv, r, h * 7 + c));
      for (int64_t c = 0; c < 2; ++c) CHECK(at(k, r, h * 5 + 3 + c) == at(shared, r, c));
      for (int64_t c = 0; c < 4; ++c) CHECK(at(v, r, h * 4 + c) == at(kv, r, h * 7 + 3 + c));
    }
}

TEST_CASE("latent_heads: gradients, also of one result alone, costs and precision") {
  const Tensors x = {random({2, 3, 14}, 1), random({2, 3, 2}, 2)};
  expect_sound(kBoth, x);
  for (size_t i : {size_t{0}, size_t{1}})
    CHECK(gradient_error([&](const auto& in) { return std::vector{kBoth(in)[i]}; }, x) < 1e-7);
  expect_same_bits_on_threads(kBoth, {random({5, 53, 14}, 1), random({5, 53, 2}, 2)});
}

TEST_CASE("latent_heads: refuses shapes that don't fit") {
  CHECK_THROWS_WITH_AS(latent_heads(random({2, 3, 14}, 1), random({2, 4, 2}, 2), 2, 3),
                       doctest::Contains("latent_heads: kv[2, 3, 14]"), ShapeError);
  CHECK_THROWS_AS(latent_heads(random({2, 3, 14}, 1), random({2, 3, 2}, 2), 2, 7), ShapeError);
}
