#include "ops/scaled_sum.h"

#include "ops/op_checks.h"

using namespace effllm;
using namespace effllm::test;

namespace {

const Function kOp = [](const Tensors& x) { return std::vector{scaled_sum(x[0], x[1], x[2], x[3])}; };

}  // namespace

TEST_CASE("scaled_sum: values, gradients, costs, precision, threads, refused shapes") {
  const Tensor a = random({2, 3, 5}, 1), b = random({2, 3, 5}, 2), of_a = random({1}, 3), of_b = random({1}, 4);
  const Tensor y = scaled_sum(a, of_a, b, of_b);
  for (int64_t r = 0; r < 6; ++r)
    for (int64_t c = 0; c < 5; ++c)
      CHECK(std::abs(at(y, r, c) - (at(of_a, 0, 0) * at(a, r, c) + at(of_b, 0, 0) * at(b, r, c))) < 1e-15);
  expect_sound(kOp, {a, of_a, b, of_b});
  expect_same_bits_on_threads(kOp, {random({3, 70, 24}, 1), of_a, random({3, 70, 24}, 2), of_b});
  CHECK_THROWS_AS(scaled_sum(a, of_a, random({2, 3, 4}, 2), of_b), ShapeError);
  CHECK_THROWS_AS(scaled_sum(a, random({2}, 1), b, of_b), ShapeError);
}
