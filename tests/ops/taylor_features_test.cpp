#include "ops/taylor_features.h"

#include "ops/groups.h"
#include "ops/op_checks.h"

using namespace effllm;
using namespace effllm::test;

namespace {

Function of_heads(int64_t heads) {
  return [=](const Tensors& x) { return std::vector{taylor_features(x[0], heads)}; };
}

}  // namespace

TEST_CASE("taylor_features: phi(q).phi(k) = 1 + q.k / sqrt f + (q.k)^2 / (2 f)") {
  for (int64_t f : {1, 2, 5, 16, 17}) {
    const Tensor q = random({3, 2 * f}, 1), k = random({3, 2 * f}, 2);
    const Tensor p = taylor_features(q, 2), s = taylor_features(k, 2);
    const int64_t width = p.cols() / 2;
    for (int64_t r = 0; r < 3; ++r)
      for (int64_t h = 0; h < 2; ++h) {
        double dot = 0;
        for (int64_t c = h * f; c < (h + 1) * f; ++c) dot += at(q, r, c) * at(k, r, c);
        dot /= std::sqrt(static_cast<double>(f));
        double score = 0;
        for (int64_t c = h * width; c < (h + 1) * width; ++c) score += at(p, r, c) * at(s, r, c);
        CHECK(score == doctest::Approx(1 + dot + dot * dot / 2).epsilon(1e-12));
      }
  }
  CHECK(taylor_width(16) == 153);
  // In the order 1, x_i, x_i x_j for j >= i.
  const double a = std::pow(2, -0.25), b = std::sqrt(0.5), expected[] = {1, 2 * a, 3 * a, 4 * b * b, 6 * b, 9 * b * b};
  const Tensor x = Tensor::dense({1, 2}, DType::f64);
  put(x, 0, 0, 2), put(x, 0, 1, 3);
  for (int64_t c = 0; c < 6; ++c) CHECK(std::abs(at(taylor_features(x, 1), 0, c) - expected[c]) < 1e-14);
}

TEST_CASE("taylor_features: gradients, costs, precision, threads, refused shapes") {
  const Poison poison;
  expect_sound(of_heads(1), {random({2, 2, 5}, 1)});
  expect_sound(of_heads(2), {random({2, 2, 6}, 1)});
  expect_same_bits_on_threads(of_heads(2), {random({3, 70, 16}, 1)});
  CHECK_THROWS_AS(taylor_features(random({2, 5}, 1), 2), ShapeError);
}
