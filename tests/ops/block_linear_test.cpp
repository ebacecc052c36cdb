#include "ops/block_linear.h"

#include "ops/linear.h"
#include "ops/op_checks.h"

using namespace effllm;
using namespace effllm::test;

namespace {

Function op(const BlockForm& f) {
  return [f](const Tensors& x) { return std::vector{block_linear(x[0], x[1], x[2], f)}; };
}

}  // namespace

TEST_CASE("block_linear: each block multiplies its own columns, the rest of a share is left out") {
  // 3 blocks with a share of 5 rows each, of which rows 2 to 4 count; 4 columns; 2 columns are carried.
  const Tensor w = random({15, 4}, 1), x = random({2, 3, 3 * 6}, 2), back = random({2, 3, 3 * 5}, 3);
  const Tensor y = block_linear(x, w, {}, {.blocks = 3, .first = 2, .rows = 3, .carry = 2});
  const Tensor z = block_linear(back, w, {}, {.blocks = 3, .first = 2, .rows = 3, .transposed = true, .carry = 2});
  REQUIRE(y.shape() == Shape{2, 3, 15});
  REQUIRE(z.shape() == Shape{2, 3, 18});
  for (int64_t r = 0; r < 6; ++r)
    for (int64_t b = 0; b < 3; ++b) {
      for (int64_t o = 0; o < 3; ++o) {
        double sum = 0;
        for (int64_t k = 0; k < 4; ++k) sum += at(x, r, b * 6 + k) * at(w, b * 5 + 2 + o, k);
        CHECK(at(y, r, b * 5 + o) == doctest::Approx(sum).epsilon(1e-13));
      }
      for (int64_t k = 0; k < 4; ++k) {
        double sum = 0;
        for (int64_t o = 0; o < 3; ++o) sum += at(back, r, b * 5 + o) * at(w, b * 5 + 2 + o, k);
        CHECK(at(z, r, b * 6 + k) == doctest::Approx(sum).epsilon(1e-13));
      }
      for (int64_t c = 0; c < 2; ++c) {
        CHECK(at(y, r, b * 5 + 3 + c) == at(x, r, b * 6 + 4 + c));
        CHECK(at(z, r, b * 6 + 4 + c) == at(back, r, b * 5 + 3 + c));
      }
    }
  const Tensor one = random({7, 4}, 4), bias = random({7}, 5), in = random({3, 4}, 6);
  CHECK(max_diff(block_linear(in, one, bias, {}), linear(in, one, bias)) < 1e-14);
}

TEST_CASE("block_linear: gradients, costs, precision, the same bits on any number of threads") {
  expect_sound(op({.blocks = 2}), {random({2, 3, 6}, 1), random({8, 3}, 2), random({8}, 3)});
  expect_sound(op({.blocks = 2, .first = 1, .rows = 2, .carry = 3}),
               {random({2, 3, 12}, 1), random({8, 3}, 2), Tensor()});
  expect_sound(op({.blocks = 2, .rows = 3, .transposed = true, .carry = 1}),
               {random({2, 3, 8}, 1), random({8, 5}, 2), Tensor()});
  expect_same_bits_on_threads(op({.blocks = 4}), {random({5, 53, 32}, 1), random({32, 8}, 2), random({32}, 3)});
}

TEST_CASE("block_linear: refuses shapes that don't fit") {
  const Tensor w = random({8, 3}, 1);
  CHECK_THROWS_WITH_AS(block_linear(random({2, 5}, 1), w, {}, {.blocks = 2}),
                       doctest::Contains("x[2, 5] for 2 blocks of 3 columns"), ShapeError);
  CHECK_THROWS_AS(block_linear(random({2, 9}, 1), w, {}, {.blocks = 3}), ShapeError);
  CHECK_THROWS_AS(block_linear(random({2, 6}, 1), w, {}, {.blocks = 2, .first = 2, .rows = 3}), ShapeError);
  CHECK_THROWS_AS(block_linear(random({2, 6}, 1), w, random({7}, 1), {.blocks = 2}), ShapeError);
}
