#include "ops/softmax.h"

#include <cmath>

#include "ops/op_checks.h"

using namespace effllm;
using namespace effllm::test;

namespace {

const Function kSoftmax = [](const Tensors& x) { return std::vector{softmax(x[0])}; };
const Function kDivide = [](const Tensors& x) { return std::vector{divide_by_sum(x[0], 0.1)}; };
const Function kSquares = [](const Tensors& x) { return std::vector{squared_log_sums(x[0])}; };

Tensor positive(const Shape& s, uint64_t seed) {
  return mapped(random(s, seed), [](double v) { return std::abs(v); });
}

}  // namespace

TEST_CASE("softmax: values are those of the formulas, of large numbers too") {
  for (const double shift : {0.0, 700.0, -700.0}) {
    const Tensor x = mapped(random({3, 37}, 1), [&](double v) { return v + shift; });
    const Tensor y = softmax(x), z = squared_log_sums(x);
    double squares = 0;
    for (int64_t r = 0; r < 3; ++r) {
      double sum = 0;
      for (int64_t c = 0; c < 37; ++c) sum += std::exp(at(x, r, c) - shift);
      for (int64_t c = 0; c < 37; ++c) CHECK(std::abs(at(y, r, c) - std::exp(at(x, r, c) - shift) / sum) < 1e-15);
      squares += std::pow(std::log(sum) + shift, 2);
    }
    CHECK(std::abs(*z.data<double>() - squares) < 1e-14 * squares);
  }
  const Tensor x = positive({2, 5}, 2), y = divide_by_sum(x, 0.5);
  for (int64_t r = 0; r < 2; ++r) {
    double sum = 0.5;
    for (int64_t c = 0; c < 5; ++c) sum += at(x, r, c);
    for (int64_t c = 0; c < 5; ++c) CHECK(std::abs(at(y, r, c) - at(x, r, c) / sum) < 1e-15);
  }
}

TEST_CASE("softmax: groups of columns are rows of their own") {
  const Tensor x = random({3, 12}, 1), y = softmax(x, 3);
  for (int64_t g = 0; g < 3; ++g) CHECK(max_diff(y.columns(4 * g, 4), softmax(x.columns(4 * g, 4).clone())) == 0);
  expect_sound([](const Tensors& in) { return std::vector{softmax(in[0], 2)}; }, {random({2, 3, 6}, 2)});
  CHECK_THROWS_AS(softmax(x, 5), ShapeError);
}

TEST_CASE("softmax: gradients, costs, precision, threads, refused types") {
  const Tensor x = random({2, 3, 7}, 1);
  expect_sound(kSoftmax, {x});
  expect_sound(kDivide, {positive({2, 3, 4}, 2)});
  expect_sound(kSquares, {x});
  for (const Function& f : {kSoftmax, kSquares}) {
    expect_same_bits_on_threads(f, {random({3, 70, 37}, 4)});
    CHECK_THROWS_AS(f({integers({2, 2}, {1, 2, 3, 4})}), ShapeError);
  }
  expect_same_bits_on_threads(kDivide, {positive({3, 70, 8}, 5)});
}
