#include "ops/groups.h"

#include "ops/arithmetic.h"
#include "ops/norm.h"
#include "ops/op_checks.h"

using namespace effllm;
using namespace effllm::test;

namespace {

const Function kMultiply = [](const Tensors& x) { return std::vector{multiply_groups(x[0], x[1])}; };
const Function kAffine = [](const Tensors& x) { return std::vector{affine_columns(x[0], x[1], x[2])}; };

}  // namespace

TEST_CASE("groups: values are those of the formulas") {
  const Tensor a = random({2, 3, 60}, 1), g = random({2, 3, 3}, 3);
  const Tensor scaled = multiply_groups(a, g);
  for (int64_t r = 0; r < 6; ++r)
    for (int64_t h = 0; h < 3; ++h)
      for (int64_t c = 20 * h; c < 20 * h + 20; ++c) CHECK(at(scaled, r, c) == at(a, r, c) * at(g, r, h));
}

TEST_CASE("groups: gradients, costs, precision, threads") {
  const Tensor x = random({2, 2, 6}, 4), g = random({2, 2, 3}, 6), w = random({6}, 7), b = random({6}, 8);
  expect_sound(kMultiply, {x, g});
  for (const Tensor& weight : {w, Tensor()})
    for (const Tensor& bias : {b, Tensor()}) expect_sound(kAffine, {x, weight, bias});
  expect_same_bits_on_threads(kMultiply, {random({3, 70, 6}, 4), random({3, 70, 3}, 5)});
  expect_same_bits_on_threads(kAffine, {random({3, 70, 6}, 4), w, b});
}

TEST_CASE("groups: shapes that don't fit are refused") {
  const Tensor x = random({2, 6}, 1);
  CHECK_THROWS_AS(multiply_groups(x, random({2, 4}, 2)), ShapeError);
  CHECK_THROWS_AS(multiply_groups(x, random({3, 3}, 2)), ShapeError);
  CHECK_THROWS_AS(affine_columns(x, random({5}, 2)), ShapeError);
}

TEST_CASE("affine_columns: x * weight + bias, either left out") {
  const Tensor x = random({4, 5}, 1), w = random({5}, 2), b = random({5}, 3);
  const Tensor both = affine_columns(x, w, b), shifted = affine_columns(x, {}, b);
  for (int64_t r = 0; r < 4; ++r)
    for (int64_t c = 0; c < 5; ++c) {
      CHECK(at(both, r, c) == doctest::Approx(at(x, r, c) * at(w, 0, c) + at(b, 0, c)).epsilon(1e-14));
      CHECK(at(shifted, r, c) == at(x, r, c) + at(b, 0, c));
    }
}

TEST_CASE("norms: without a weight, of length one, in groups with weights of their own") {
  const Tensor x = random({3, 12}, 1), w = random({12}, 2), b = random({12}, 3);
  const Tensor rms = rms_norm(x, 4, 1e-5), l2 = l2_norm(x, 4, 1e-6), grouped = layer_norm(x, w, b, 1e-5, 3);
  for (int64_t r = 0; r < 3; ++r)
    for (int64_t g = 0; g < 12; g += 4) {
      double mean = 0, square = 0, variance = 0;
      for (int64_t c = g; c < g + 4; ++c) {
        mean += at(x, r, c) / 4;
        square += at(x, r, c) * at(x, r, c);
      }
      for (int64_t c = g; c < g + 4; ++c) variance += (at(x, r, c) - mean) * (at(x, r, c) - mean) / 4;
      for (int64_t c = g; c < g + 4; ++c) {
        CHECK(at(rms, r, c) == doctest::Approx(at(x, r, c) / std::sqrt(square / 4 + 1e-5)).epsilon(1e-12));
        CHECK(at(l2, r, c) == doctest::Approx(at(x, r, c) / std::sqrt(square + 1e-6)).epsilon(1e-12));
        const double n = (at(x, r, c) - mean) / std::sqrt(variance + 1e-5);
        CHECK(at(grouped, r, c) == doctest::Approx(n * at(w, 0, c) + at(b, 0, c)).epsilon(1e-12));
      }
    }
  expect_sound([](const auto& in) { return std::vector{rms_norm(in[0], 4, 1e-5)}; }, {x});
  expect_sound([](const auto& in) { return std::vector{l2_norm(in[0], 4, 1e-6)}; }, {x});
  expect_sound([](const auto& in) { return std::vector{layer_norm(in[0], in[1], in[2], 1e-5, 3)}; }, {x, w, b});
  CHECK_THROWS_AS(layer_norm(x, w, b, 1e-5, 5), ShapeError);
  CHECK_THROWS_AS(rms_norm(x, 5, 1e-5), ShapeError);
}
