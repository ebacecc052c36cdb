#include "ops/logistic_loss.h"

#include <cmath>

#include "ops/op_checks.h"

using namespace effllm;
using namespace effllm::test;

TEST_CASE("logistic_loss: the sum of -log p, of large logits too, and its gradient") {
  const Tensor z = random({2, 3, 2}, 1, DType::f64, 3), y = Tensor::zeros({2, 3, 2}, DType::f64);
  put(z, 0, 0, 800);
  for (int64_t r = 0; r < 6; r += 2) put(y, r, 1, 1);
  double want = 0;
  for (int64_t r = 0; r < 6; ++r)
    for (int64_t c = 0; c < 2; ++c) {
      const double v = at(z, r, c) * (at(y, r, c) > 0 ? -1 : 1);
      want += v > 700 ? v : std::log1p(std::exp(v));
    }
  CHECK(std::abs(*logistic_loss(z, y).data<double>() - want) < 1e-12 * want);
  put(z, 0, 0, 1);
  const Function f = [&](const Tensors& in) { return std::vector{logistic_loss(in[0], y)}; };
  CHECK(gradient_error(f, {z}) < 1e-8);
  CHECK_THROWS_AS(logistic_loss(z, random({2, 3}, 1)), ShapeError);
}
