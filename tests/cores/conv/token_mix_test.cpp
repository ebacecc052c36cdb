#include "cores/conv/token_mix.h"

#include "ops/op_checks.h"

using namespace effllm;
using namespace effllm::test;

namespace {

Tensor documents() { return integers({2, 5}, {0, 0, 1, 1, 1, 1, 1, 2, 3, 3}); }

// x, before, mix, m
Tensors inputs(int64_t parts, int64_t columns, int64_t steps = 5) {
  return {random({2, steps, columns}, 1), random({2, 1, columns}, 2), random({parts, columns}, 3),
          random({2, steps, parts * columns}, 4)};
}
Function mixed(const Tensor& segments) {
  return [=](const Tensors& x) {
    const TokenMixResult r = token_mix(x[0], x[1], segments, x[2], x[3]);
    return std::vector{r.y, r.last};
  };
}

}  // namespace

TEST_CASE("token_mix: the plain loop at several widths, with documents and without, with weights of tokens or none") {
  const Poison poison;
  for (const Tensor& segments : {Tensor(), documents()})
    for (const auto& [columns, varies] : {std::pair{1, true}, {7, true}, {130, true}, {257, true}, {33, false}}) {
      auto in = inputs(3, columns);
      if (!varies) in[3] = Tensor();
      const TokenMixResult got = token_mix(in[0], in[1], segments, in[2], in[3]);
      for (int64_t b = 0; b < 2; ++b)
        for (int64_t t = 0; t < 5; ++t)
          for (int64_t i = 0; i < 3; ++i)
            for (int64_t c = 0; c < columns; ++c) {
              const double x = at(in[0], b * 5 + t, c), before = starts(segments, b, t) ? 0
                                                                 : t                    ? at(in[0], b * 5 + t - 1, c)
                                                                                        : at(in[1], b, c);
              const double w = at(in[2], i, c) + (varies ? at(in[3], b * 5 + t, i * columns + c) : 0);
              CHECK(std::abs(at(got.y, b * 5 + t, i * columns + c) - (x + (before - x) * w)) < 1e-13);
            }
      CHECK(max_diff(got.last, tokens(in[0], 4, 5)) == 0);
    }
}

TEST_CASE("token_mix: gradients, costs, precision, threads, refused shapes") {
  const Poison poison;
  for (const Tensor& segments : {Tensor(), documents()}) {
    auto in = inputs(3, 4);
    expect_sound(mixed(segments), in);
    in[3] = Tensor();
    expect_sound(mixed(segments), in);
    in[1] = Tensor();
    expect_sound(mixed(segments), in);
  }
  auto one = inputs(1, 4);
  one[2] = random({4}, 3);
  expect_sound(mixed({}), one);
  expect_same_bits_on_threads(mixed({}), inputs(2, 200, 70));
  one[3] = random({2, 5, 8}, 1);
  CHECK_THROWS_AS(mixed({})(one), ShapeError);
  CHECK_THROWS_AS(token_mix(one[0], one[0], {}, one[2]), ShapeError);
}
