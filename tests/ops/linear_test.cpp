#include "ops/linear.h"

#include "autodiff/meter.h"
#include "ops/op_checks.h"

using namespace effllm;
using namespace effllm::test;

namespace {

const Function kLinear = [](const Tensors& x) { return std::vector{linear(x[0], x[1], x[2])}; };

double plain(const Tensor& x, const Tensor& w, const Tensor& bias, int64_t row, int64_t out) {
  double s = bias.defined() ? at(bias, 0, out) : 0;
  for (int64_t i = 0; i < x.cols(); ++i) s += at(x, row, i) * at(w, out, i);
  return s;
}

}  // namespace

TEST_CASE("linear: y = x W^T + bias, with padded rows on both sides") {
  const Tensor x = random({2, 5, 64}, 1), w = random({128, 64}, 2), b = random({128}, 3);
  for (const Tensor& bias : {b, Tensor()}) {
    const Tensor y = linear(x, w, bias);
    CHECK(y.shape() == Shape{2, 5, 128});
    double worst = 0;
    for (int64_t r = 0; r < 10; ++r)
      for (int64_t o = 0; o < 128; ++o) worst = std::max(worst, std::abs(at(y, r, o) - plain(x, w, bias, r, o)));
    CHECK(worst < 1e-12);
  }
}

TEST_CASE("linear: reads columns of a wider tensor") {
  const Tensor wide = random({4, 20}, 4), w = random({3, 6}, 5), part = wide.columns(7, 6);
  CHECK(max_diff(linear(part, w), linear(part.clone(), w)) < 1e-14);
}

TEST_CASE("linear: a transposed copy of the weight gives the same, and another shape is refused") {
  const Tensor x = random({2, 5, 24}, 1), w = random({40, 24}, 2), copy = Tensor::empty({24, 40}, DType::f64);
  for (int64_t r = 0; r < 40; ++r)
    for (int64_t c = 0; c < 24; ++c) put(copy, c, r, at(w, r, c));
  CHECK(max_diff(linear(x, w, {}, copy), linear(x, w)) < 1e-13);
  CHECK_THROWS_WITH_AS(linear(x, w, {}, w), doctest::Contains("transposed copy"), ShapeError);
}

TEST_CASE("linear: gradients, costs, precision, the same bits on any number of threads") {
  const Tensor x = random({2, 3, 5}, 6), w = random({4, 5}, 7), b = random({4}, 8);
  expect_sound(kLinear, {x, w, b});
  expect_sound(kLinear, {x, w, Tensor()});
  expect_same_bits_on_threads(kLinear, {random({3, 67, 40}, 9), random({33, 40}, 10), random({33}, 11)});
  expect_same_bits_on_threads(kLinear, {random({1, 1, 200}, 9), random({300, 200}, 10), Tensor()});
}

TEST_CASE("linear: two FLOPs a weight and row, twice that backwards") {
  const Meter meter;
  linear(random({7, 5}, 1), random({4, 5}, 2));
  CHECK(meter.total.forward_flops == 2 * 7 * 5 * 4);
  CHECK(meter.total.backward_flops == 4 * 7 * 5 * 4);
}

TEST_CASE("linear: shapes that don't fit are refused, and the message names them") {
  const Tensor x = random({2, 3, 5}, 1);
  CHECK_THROWS_WITH_AS(linear(x, random({4, 6}, 1)), doctest::Contains("[4, 6]"), ShapeError);
  CHECK_THROWS_AS(linear(x, random({4, 5}, 1), random({5}, 1)), ShapeError);
  CHECK_THROWS_AS(linear(x, random({4, 5}, 1, DType::f32)), ShapeError);
  CHECK_THROWS_AS(linear(x, random({5}, 1)), ShapeError);
}
