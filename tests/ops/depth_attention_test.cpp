#include "ops/depth_attention.h"

#include "ops/op_checks.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr double kEps = 1e-3;

// x: query, weight, values.
const Function kAttend = [](const Tensors& x) {
  return std::vector{depth_attention(std::span(x).subspan(2), x[0], x[1], kEps)};
};

}  // namespace

TEST_CASE("depth_attention: the softmax mean of values by the query's product with their norms") {
  const Tensor query = random({6}, 1), weight = random({6}, 2);
  const Tensors values = {random({2, 3, 6}, 3), random({2, 3, 6}, 4), random({2, 3, 6}, 5)};
  const Tensor y = depth_attention(values, query, weight, kEps);
  for (int64_t r = 0; r < 6; ++r) {
    std::vector<double> p;
    double sum = 0;
    for (const Tensor& v : values) {
      double squares = 0, dot = 0;
      for (int64_t c = 0; c < 6; ++c) {
        squares += at(v, r, c) * at(v, r, c);
        dot += at(query, 0, c) * at(weight, 0, c) * at(v, r, c);
      }
      p.push_back(std::exp(dot / std::sqrt(squares / 6 + kEps)));
      sum += p.back();
    }
    for (int64_t c = 0; c < 6; ++c) {
      double want = 0;
      for (size_t i = 0; i < 3; ++i) want += p[i] / sum * at(values[i], r, c);
      CHECK(std::abs(at(y, r, c) - want) < 1e-14);
    }
  }
}

TEST_CASE("depth_attention: one value is itself, a query of zeros takes the mean") {
  const Tensor a = random({1, 4, 5}, 1), b = random({1, 4, 5}, 2), none = Tensor::zeros({5}, DType::f64);
  const Tensors one = {a}, two = {a, b};
  CHECK(same_bits(depth_attention(one, random({5}, 3), random({5}, 4), kEps), a));
  const Tensor y = depth_attention(two, none, random({5}, 4), kEps);
  for (int64_t r = 0; r < 4; ++r)
    for (int64_t c = 0; c < 5; ++c) CHECK(std::abs(at(y, r, c) - (at(a, r, c) + at(b, r, c)) / 2) < 1e-15);
}

TEST_CASE("depth_attention: gradients, costs, threads, shapes") {
  const Tensor query = random({4}, 1), weight = random({4}, 2), a = random({2, 3, 4}, 3), b = random({2, 3, 4}, 4);
  expect_sound(kAttend, {query, weight, a});
  expect_sound(kAttend, {query, weight, a, b, random({2, 3, 4}, 5)});
  expect_same_bits_on_threads(kAttend,
                              {random({70}, 1), random({70}, 2), random({5, 53, 70}, 3), random({5, 53, 70}, 4)});
  CHECK(gradient_error(
            [&](const Tensors& x) {
              return std::vector{depth_attention(std::vector{x[0], b, x[0]}, query, weight, kEps)};
            },
            {a}) < 1e-7);
  CHECK_THROWS_WITH_AS(depth_attention(std::vector{a, random({2, 3, 5}, 1)}, query, weight, kEps),
                       doctest::Contains("depth_attention: values [2, 3, 4] and [2, 3, 5]"), ShapeError);
  CHECK_THROWS_AS(depth_attention(std::vector{a}, random({5}, 1), weight, kEps), ShapeError);
  CHECK_THROWS_AS(depth_attention(Tensors(), query, weight, kEps), ShapeError);
  const Tensors many(kMostDepths + 1, a);
  CHECK_THROWS_WITH_AS(depth_attention(many, query, weight, kEps), doctest::Contains("more than"), ShapeError);
}
