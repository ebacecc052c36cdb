#include "ops/columns.h"

#include "ops/arithmetic.h"
#include "ops/op_checks.h"
#include "ops/pointwise.h"

using namespace effllm;
using namespace effllm::test;

namespace {

const Function kSplit = [](const Tensors& x) { return split_columns(x[0], {2, 3, 1}); };
const Function kJoin = [](const Tensors& x) { return std::vector{join_columns(x[0], x[1])}; };

}  // namespace

TEST_CASE("columns: a split is column ranges in the same memory") {
  const Tensor x = random({2, 3, 64}, 1);
  const auto part = split_columns(x, {10, 0, 54});
  REQUIRE(part.size() == 3);
  CHECK(part[0].shape() == Shape{2, 3, 10});
  CHECK(part[2].shape() == Shape{2, 3, 54});
  CHECK(part[2].buffer() == x.buffer());
  CHECK(part[2].stride() == x.stride());
  CHECK(at(part[2], 5, 53) == at(x, 5, 63));
}

TEST_CASE("columns: a join puts rows side by side, and undoes a split") {
  const Tensor x = random({2, 3, 64}, 2);
  const auto part = split_columns(x, {10, 54});
  const Tensor y = join_columns(part[0], part[1]);
  CHECK(max_diff(x, y) == 0);
  CHECK(y.buffer() != x.buffer());
}

TEST_CASE("columns: gradients, costs, precision, the same bits on any number of threads") {
  expect_sound(kSplit, {random({2, 3, 6}, 3)});
  expect_sound(kJoin, {random({2, 3, 4}, 4), random({2, 3, 2}, 5)});
  expect_same_bits_on_threads(kSplit, {random({130, 6}, 7)});
  expect_same_bits_on_threads(kJoin, {random({130, 6}, 8), random({130, 5}, 9)});
}

TEST_CASE("columns: gradients of nested splits and of rejoined parts agree with differences") {
  const auto nested = [](const Tensors& x) {
    const auto outer = split_columns(x[0], {4, 2});
    const auto inner = split_columns(outer[0], {1, 3});
    return std::vector{multiply(inner[0], inner[0]), sigmoid(outer[1]), join_columns(outer[1], inner[1])};
  };
  CHECK(gradient_error(nested, {random({3, 6}, 6)}) < 1e-7);
}

TEST_CASE("columns: widths and rows that don't fit are refused") {
  CHECK_THROWS_AS(split_columns(random({2, 6}, 1), {2, 3}), ShapeError);
  CHECK_THROWS_AS(split_columns(random({2, 6}, 1), {7, -1}), ShapeError);
  CHECK_THROWS_AS(join_columns(random({2, 6}, 1), random({3, 6}, 1)), ShapeError);
  CHECK_THROWS_AS(join_columns(random({2, 3, 6}, 1), random({3, 2, 6}, 1)), ShapeError);
  CHECK_THROWS_AS(join_columns(random({2, 6}, 1), random({2, 6}, 1, DType::f32)), ShapeError);
}
