#include "ops/norm.h"

#include "ops/arithmetic.h"
#include "ops/op_checks.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr double kEps = 1e-5;
const Function kRms = [](const Tensors& x) { return std::vector{rms_norm(x[0], x[1], kEps)}; };
const Function kLayer = [](const Tensors& x) { return std::vector{layer_norm(x[0], x[1], x[2], kEps)}; };

// Mean square of columns [from, from + n) after `mean` is taken off.
double mean_square(const Tensor& x, int64_t row, int64_t from, int64_t n, double mean) {
  double s = 0;
  for (int64_t c = from; c < from + n; ++c) s += std::pow(at(x, row, c) - mean, 2);
  return s / static_cast<double>(n);
}

}  // namespace

TEST_CASE("rms_norm: x / rms(x) * weight, over all columns or each head's") {
  const Tensor x = random({2, 3, 64}, 1);
  for (int64_t width : {64, 16, 1}) {
    const Tensor w = random({width}, 2), y = rms_norm(x, w, kEps);
    for (int64_t r = 0; r < 6; ++r)
      for (int64_t c = 0; c < 64; ++c) {
        const double rms = std::sqrt(mean_square(x, r, c / width * width, width, 0) + kEps);
        REQUIRE(std::abs(at(y, r, c) - at(x, r, c) / rms * at(w, 0, c % width)) < 1e-13);
      }
  }
}

TEST_CASE("layer_norm: (x - mean) / sqrt(var + eps) * weight + bias") {
  const Tensor x = random({6, 64}, 3), w = random({64}, 4), b = random({64}, 5);
  for (const Tensor& bias : {b, Tensor()}) {
    const Tensor y = layer_norm(x, w, bias, kEps);
    for (int64_t r = 0; r < 6; ++r) {
      double mean = 0;
      for (int64_t c = 0; c < 64; ++c) mean += at(x, r, c) / 64;
      const double sd = std::sqrt(mean_square(x, r, 0, 64, mean) + kEps);
      for (int64_t c = 0; c < 64; ++c) {
        const double expected = (at(x, r, c) - mean) / sd * at(w, 0, c) + (bias.defined() ? at(bias, 0, c) : 0);
        REQUIRE(std::abs(at(y, r, c) - expected) < 1e-13);
      }
    }
  }
}

TEST_CASE("norms: gradients, costs, precision, the same bits on any number of threads and inside a worker") {
  const Tensor x = random({2, 2, 6}, 6), w = random({6}, 7), b = random({6}, 8);
  expect_sound(kRms, {x, w});
  expect_sound(kRms, {x, random({3}, 7)});  // two heads share a weight
  expect_sound(kLayer, {x, w, b});
  expect_sound(kLayer, {x, w, Tensor()});
  const Tensor many = random({3, 70, 24}, 10);
  expect_same_bits_on_threads(kRms, {many, random({24}, 11)});
  expect_same_bits_on_threads(kRms, {many, random({8}, 11)});
  expect_same_bits_on_threads(kLayer, {many, random({24}, 11), random({24}, 12)});
  expect_sound(kLayer, {x, Tensor(), b});
  expect_sound([](const Tensors& in) { return std::vector{l2_norm(in[0], 3, 0.1, 2)}; }, {x});
  CHECK(same_bits(layer_norm(x, {}, b, kEps), layer_norm(x, Tensor::full({6}, DType::f64, 1), b, kEps)));
  CHECK(max_diff(l2_norm(x, 3, 0.1, 2), scale(l2_norm(x, 3, 0.1), 2)) < 1e-15);
}

TEST_CASE("norms: a row of zeros gives zeros and finite gradients") {
  const Tensor x = Tensor::zeros({2, 8}, DType::f32), w = Tensor::full({8}, DType::f32, 1);
  CHECK(max_abs(rms_norm(x, w, kEps)) == 0);
  CHECK(max_abs(layer_norm(x, w, {}, kEps)) == 0);
  for (const Tensor& t : outputs_and_gradients(kRms, {x, w})) CHECK(std::isfinite(max_abs(t)));
}

TEST_CASE("layer_norm: a large common offset costs no precision") {
  const Tensor x = random({4, 32}, 9, DType::f32), w = Tensor::full({32}, DType::f32, 1);
  Tensor shifted = x.clone();
  for (int64_t r = 0; r < 4; ++r)
    for (int64_t c = 0; c < 32; ++c) put(shifted, r, c, at(x, r, c) + 1000);
  // Adding 1000 alone rounds x to 2^-14.
  CHECK(max_diff(layer_norm(shifted, w, {}, kEps), layer_norm(x, w, {}, kEps)) < 5e-4);
}

TEST_CASE("norms: a weight that does not fit is refused") {
  const Tensor x = random({2, 6}, 1);
  CHECK_THROWS_AS(rms_norm(x, random({4}, 1), kEps), ShapeError);
  CHECK_THROWS_AS(rms_norm(x, Tensor(), kEps), ShapeError);
  CHECK_THROWS_AS(layer_norm(x, random({3}, 1), {}, kEps), ShapeError);
  CHECK_THROWS_AS(layer_norm(x, random({6}, 1), random({5}, 1), kEps), ShapeError);
}
