#include "cores/common/flip_tokens.h"

#include "ops/op_checks.h"

using namespace effllm;
using namespace effllm::test;

namespace {

const Function kFlip = [](const Tensors& x) { return std::vector{flip_tokens(x[0], x[1])}; };

Tensor documents() { return integers({2, 6}, {0, 0, 1, 1, 1, 2, 1, 1, 1, 1, 1, 1}); }

}  // namespace

TEST_CASE("flip_tokens: reverses each document where it stands, and twice is once nothing") {
  const Tensor x = random({2, 6, 70}, 1), whole = flip_tokens(x), parts = flip_tokens(x, documents());
  const int64_t order[] = {1, 0, 4, 3, 2, 5};
  for (int64_t t = 0; t < 6; ++t)
    for (int64_t c = 0; c < 70; ++c) {
      REQUIRE(at(whole, t, c) == at(x, 5 - t, c));
      REQUIRE(at(parts, t, c) == at(x, order[t], c));
      REQUIRE(at(parts, 6 + t, c) == at(x, 11 - t, c));
    }
  CHECK(same_bits(flip_tokens(parts, documents()), x));
}

TEST_CASE("flip_tokens: gradients, costs, threads, shapes") {
  expect_sound(kFlip, {random({2, 6, 3}, 1), Tensor()});
  expect_sound(kFlip, {random({2, 6, 3}, 1), documents()});
  expect_same_bits_on_threads(kFlip, {random({5, 53, 7}, 1), Tensor()});
  CHECK_THROWS_WITH_AS(flip_tokens(random({2, 6}, 1)), doctest::Contains("flip_tokens: [2, 6]"), ShapeError);
  CHECK_THROWS_AS(flip_tokens(random({2, 5, 3}, 1), documents()), ShapeError);
}

TEST_CASE("flip_tokens: ids go the same way") {
  const Tensor ids = Tensor::dense({2, 6}, DType::i32);
  for (int32_t i = 0; i < 12; ++i) ids.data<int32_t>()[i] = i;
  const Tensor parts = flip_tokens(ids, documents());
  CHECK(std::vector(parts.data<int32_t>(), parts.data<int32_t>() + 12) ==
        std::vector<int32_t>{1, 0, 4, 3, 2, 5, 11, 10, 9, 8, 7, 6});
}
