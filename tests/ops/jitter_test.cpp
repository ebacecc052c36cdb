#include "ops/jitter.h"

#include "ops/op_checks.h"

using namespace effllm;
using namespace effllm::test;

TEST_CASE("jitter: factors lie around 1, depend on stream, sample and element alone, and backward has the same") {
  const RandomStream stream(3, "jitter", 5);
  const Tensor ones = Tensor::full({3, 40, 16}, DType::f64, 1), y = jitter(ones, 0.2, stream, Samples(7));
  double least = 1, most = 1, sum = 0;
  for (int64_t r = 0; r < y.rows(); ++r)
    for (int64_t c = 0; c < 16; ++c) {
      least = std::min(least, at(y, r, c));
      most = std::max(most, at(y, r, c));
      sum += at(y, r, c) / static_cast<double>(y.numel());
    }
  CHECK(least >= 0.8);
  CHECK(least < 0.805);
  CHECK(most < 1.2);
  CHECK(most > 1.195);
  CHECK(std::abs(sum - 1) < 0.01);
  const Tensor last = jitter(ones.row_range(80, {1, 40, 16}), 0.2, stream, Samples(9));
  CHECK(same_bits(last, y.row_range(80, {1, 40, 16})));
  CHECK(max_diff(jitter(ones, 0.2, RandomStream(3, "jitter", 6), Samples(7)), y) > 0.1);
  const Function f = [&](const Tensors& x) { return std::vector{jitter(x[0], 0.3, stream, Samples(2))}; };
  expect_sound(f, {random({2, 3, 4}, 1)});
  expect_same_bits_on_threads(f, {random({3, 70, 8}, 4)});
  CHECK_THROWS_AS(jitter(random({4, 4}, 1), 0.1, stream, Samples()), ShapeError);
}
