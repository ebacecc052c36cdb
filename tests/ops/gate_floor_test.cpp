#include "ops/gate_floor.h"

#include "ops/op_checks.h"

using namespace effllm;
using namespace effllm::test;

TEST_CASE("gate_floor: sums of a softmax over layers without its first, in one line of the formula") {
  const Tensor x = random({4, 5}, 1);
  for (int64_t c = 0; c < 5; ++c) {
    double all = 0, sum = 0;
    for (int64_t l = 0; l < 4; ++l) all += std::exp(at(x, l, c));
    for (int64_t l = 0; l < 4; ++l) {
      if (l > 0) sum += std::exp(at(x, l, c)) / all;
      CHECK(at(gate_floor(x, l), 0, c) == doctest::Approx(sum).epsilon(1e-13));
    }
  }
}

TEST_CASE("gate_floor: gradients, costs and precision") {
  for (int64_t layer : {0, 1, 3})
    expect_sound([layer](const Tensors& x) { return std::vector{gate_floor(x[0], layer)}; }, {random({4, 5}, 2)});
}

TEST_CASE("gate_floor: large differences don't overflow, other layers are refused") {
  CHECK(at(gate_floor(Tensor::full({2, 1}, DType::f32, 500), 1), 0, 0) == 0.5);
  CHECK_THROWS_WITH_AS(gate_floor(random({2, 3}, 1), 2), doctest::Contains("layer 2 of [2, 3]"), ShapeError);
}
