#include "ops/mix_streams.h"

#include "ops/op_checks.h"

using namespace effllm;
using namespace effllm::test;

namespace {

Function mix(int64_t n, MixOrder order) {
  return [=](const Tensors& x) { return std::vector{mix_streams(x[0], x[1], n, order, x[2])}; };
}

}  // namespace

TEST_CASE("mix_streams: each result is the sum of all sources, in either order of the weights") {
  const Tensor x = random({2, 3, 2 * 5}, 1), w = random({2, 3, 3 * 2}, 2), onto = random({2, 3, 3 * 5}, 3);
  for (const bool by_source : {false, true}) {
    const MixOrder order = by_source ? MixOrder::by_source : MixOrder::by_result;
    const Tensor y = mix_streams(x, w, 2, order, onto), bare = mix_streams(x, w, 2, order);
    for (int64_t r = 0; r < 6; ++r)
      for (int64_t i = 0; i < 3; ++i)
        for (int64_t c = 0; c < 5; ++c) {
          double sum = 0;
          for (int64_t j = 0; j < 2; ++j) sum += at(w, r, by_source ? j * 3 + i : i * 2 + j) * at(x, r, j * 5 + c);
          CHECK(std::abs(at(bare, r, i * 5 + c) - sum) < 1e-14);
          CHECK(std::abs(at(y, r, i * 5 + c) - sum - at(onto, r, i * 5 + c)) < 1e-14);
        }
  }
}

TEST_CASE("mix_streams: gradients, costs, threads, shapes") {
  for (const MixOrder order : {MixOrder::by_result, MixOrder::by_source}) {
    expect_sound(mix(3, order), {random({2, 3, 6}, 1), random({2, 3, 6}, 2), random({2, 3, 4}, 3)});
    expect_sound(mix(2, order), {random({2, 2, 4}, 1), random({2, 2, 4}, 2), Tensor()});
    expect_same_bits_on_threads(mix(2, order), {random({5, 53, 8}, 1), random({5, 53, 6}, 2), random({5, 53, 12}, 3)});
  }
  expect_sound(mix(1, MixOrder::by_result), {random({2, 3, 4}, 1), random({2, 3, 3}, 2), random({2, 3, 12}, 3)});
  CHECK_THROWS_WITH_AS(mix_streams(random({2, 3, 5}, 1), random({2, 3, 4}, 2), 2),
                       doctest::Contains("mix_streams: 2 streams of [2, 3, 5]"), ShapeError);
  CHECK_THROWS_AS(mix_streams(random({2, 3, 4}, 1), random({2, 3, 3}, 2), 2), ShapeError);
  CHECK_THROWS_AS(mix_streams(random({2, 3, 4}, 1), random({2, 3, 4}, 2), 2, {}, random({2, 3, 6}, 3)), ShapeError);
}
