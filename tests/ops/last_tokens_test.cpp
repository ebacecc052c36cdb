#include "ops/last_tokens.h"

#include "ops/op_checks.h"

using namespace effllm;
using namespace effllm::test;

TEST_CASE("last_tokens: the end of each sequence, and its gradient") {
  const Tensor x = random({2, 5, 3}, 1);
  CHECK(same_bits(last_tokens(x, 2), tokens(x, 3, 5)));
  CHECK(same_bits(last_tokens(x, 5), x));
  const Function f = [](const Tensors& in) { return Tensors{last_tokens(in[0], 2)}; };
  expect_sound(f, {x});
  expect_same_bits_on_threads(f, {x});
  CHECK_THROWS_AS(last_tokens(x, 6), ShapeError);
  CHECK_THROWS_AS(last_tokens(x, 0), ShapeError);
}
