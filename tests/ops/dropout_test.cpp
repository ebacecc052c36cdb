#include "ops/dropout.h"

#include "ops/op_checks.h"

using namespace effllm;
using namespace effllm::test;

namespace {

RandomStream stream(uint64_t seed = 1, uint64_t step = 2) { return RandomStream(seed, "layers.0.dropout", step); }

Function op(double p, int64_t first_sample = 0) {
  return [=](const Tensors& x) { return std::vector{dropout(x[0], p, stream(), first_sample)}; };
}

// Which elements are kept, as 0 and 1.
Tensor mask(double p, const RandomStream& s, int64_t first_sample, const Shape& shape) {
  const Tensor y = dropout(Tensor::full(shape, DType::f64, 1 - p), p, s, first_sample);
  for (int64_t r = 0; r < y.rows(); ++r)
    for (int64_t c = 0; c < y.cols(); ++c) REQUIRE((at(y, r, c) == 0 || std::abs(at(y, r, c) - 1) < 1e-9));
  return y;
}

}  // namespace

TEST_CASE("dropout: kept elements grow by 1/(1-p), the share of them is 1-p") {
  for (double p : {0.1, 0.5, 0.9}) {
    constexpr double kN = 4 * 50 * 100;
    const Tensor m = mask(p, stream(), 0, {4, 50, 100});
    CHECK(std::abs(dot(m, m) / kN - (1 - p)) < 5 * std::sqrt(p * (1 - p) / kN));
  }
}

TEST_CASE("dropout: the mask depends on seed, step, site, sample and element only") {
  const Shape s{4, 3, 70};
  const Tensor whole = mask(0.5, stream(), 10, s);
  CHECK(same_bits(whole, mask(0.5, stream(), 10, s)));
  CHECK(max_diff(whole, mask(0.5, stream(2), 10, s)) > 0.5);
  CHECK(max_diff(whole, mask(0.5, stream(1, 3), 10, s)) > 0.5);
  CHECK(max_diff(whole, mask(0.5, RandomStream(1, "layers.1.dropout", 2), 10, s)) > 0.5);
  for (int64_t b = 1; b < 4; ++b) CHECK(max_diff(whole.row_range(0, {3, 70}), whole.row_range(3 * b, {3, 70})) > 0.5);
  CHECK(max_diff(whole.row_range(0, {1, 70}), whole.row_range(1, {1, 70})) > 0.5);
}

TEST_CASE("dropout: parts of a batch are dropped like the whole, in both types") {
  const Tensor x = random({4, 3, 70}, 1), whole = dropout(x, 0.3, stream(), 10);
  for (int64_t cut : {1, 2, 3}) {
    const Tensor first = dropout(x.row_range(0, {cut, 3, 70}), 0.3, stream(), 10);
    const Tensor second = dropout(x.row_range(3 * cut, {4 - cut, 3, 70}), 0.3, stream(), 10 + cut);
    CHECK(same_bits(first, whole.row_range(0, first.shape())));
    CHECK(same_bits(second, whole.row_range(3 * cut, second.shape())));
  }
  const Tensor narrow = dropout(to_dtype(x, DType::f32), 0.3, stream(), 10);
  CHECK(max_diff(narrow, whole) < 1e-5);
  // A narrower layer sees the beginning of the same rows.
  CHECK(max_diff(dropout(x.columns(0, 33), 0.3, stream(), 10), whole.columns(0, 33)) == 0);
}

TEST_CASE("dropout: gradients, costs, precision, the same bits on any number of threads") {
  expect_sound(op(0.4, 3), {random({2, 3, 5}, 2)});
  expect_same_bits_on_threads(op(0.4), {random({5, 20, 33}, 4)});
}

TEST_CASE("dropout: p = 0 is the identity and records nothing") {
  const Tensor x = random({2, 3, 5}, 3);
  CHECK(dropout(x, 0, stream(), 0).raw() == x.raw());
}

TEST_CASE("dropout: p = 1 and other ranks are refused") {
  CHECK_THROWS_AS(dropout(random({2, 3, 5}, 1), 1, stream(), 0), ShapeError);
  CHECK_THROWS_AS(dropout(random({2, 5}, 1), 0.5, stream(), 0), ShapeError);
}
