#include "ops/arithmetic.h"

#include "ops/op_checks.h"

using namespace effllm;
using namespace effllm::test;

namespace {

const Function kAdd = [](const Tensors& x) { return std::vector{add(x[0], x[1])}; };
const Function kMultiply = [](const Tensors& x) { return std::vector{multiply(x[0], x[1])}; };
const Function kScale = [](const Tensors& x) { return std::vector{scale(x[0], -1.7)}; };
const Function kScaleBy = [](const Tensors& x) { return std::vector{scale_by(x[0], x[1])}; };
const Function kOneMinus = [](const Tensors& x) { return std::vector{one_minus(x[0])}; };

}  // namespace

TEST_CASE("arithmetic: values are those of the formulas, on padded rows too") {
  const Tensor a = random({2, 3, 64}, 1), b = random({2, 3, 64}, 2);
  REQUIRE(a.stride() != a.cols());
  const Tensor sum = add(a, b), product = multiply(a, b), scaled = scale(a, 0.3), rest = one_minus(a),
               learned = scale_by(a, Tensor::full({1}, DType::f64, 0.3));
  for (int64_t r = 0; r < 6; ++r)
    for (int64_t c = 0; c < 64; ++c) {
      const double x = at(a, r, c), y = at(b, r, c);
      REQUIRE(at(sum, r, c) == x + y);
      REQUIRE(at(product, r, c) == x * y);
      REQUIRE(at(scaled, r, c) == 0.3 * x);
      REQUIRE(at(learned, r, c) == 0.3 * x);
      REQUIRE(at(rest, r, c) == doctest::Approx(1 - x).epsilon(1e-15));
    }
}

TEST_CASE("arithmetic: gradients, costs, precision, the same bits on any number of threads") {
  const Tensors two = {random({2, 3, 5}, 3), random({2, 3, 5}, 4)};
  expect_sound(kAdd, two);
  expect_sound(kMultiply, two);
  expect_sound(kScale, {two[0]});
  expect_sound(kOneMinus, {two[0]});
  expect_sound(kScaleBy, {two[0], random({1}, 5)});
  const Tensors more = {random({5, 53, 7}, 6), random({5, 53, 7}, 7)};
  expect_same_bits_on_threads(kAdd, more);
  expect_same_bits_on_threads(kMultiply, more);
  expect_same_bits_on_threads(kOneMinus, {more[0]});
  expect_same_bits_on_threads(kScaleBy, {more[0], random({1}, 5)});
}

TEST_CASE("arithmetic: other shapes or types are refused") {
  CHECK_THROWS_AS(add(random({2, 3}, 1), random({3, 2}, 1)), ShapeError);
  CHECK_THROWS_AS(add(random({2, 3}, 1), random({2, 3}, 1, DType::f32)), ShapeError);
  CHECK_THROWS_AS(multiply(random({2, 3}, 1), random({2, 3, 1}, 1)), ShapeError);
  CHECK_THROWS_AS(scale_by(random({2, 3}, 1), random({2}, 1)), ShapeError);
}
