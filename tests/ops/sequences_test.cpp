#include "ops/sequences.h"

#include <doctest/doctest.h>

#include "ops/op_checks.h"

using namespace effllm;
using namespace effllm::test;

TEST_CASE("sequences: some of a batch are taken, and put back in their places") {
  const Sequences some = {1, 3};
  for (const Shape& s : {Shape{4, 3}, Shape{4, 2, 128}, Shape{4, 2, 3, 5}}) {  // rows of 128 numbers are padded
    const Tensor x = random(s, 1), y = random(s.with(0, 2), 2), taken = take_sequences(x, some);
    const Tensor put = put_sequences(x, some, y);
    const int64_t n = x.rows() / 4, cols = x.cols();
    for (int64_t i = 0; i < 2; ++i) {
      const int64_t at = some[static_cast<size_t>(i)] * n;
      CHECK(max_diff(taken.row_range(i * n, {n, cols}), x.row_range(at, {n, cols})) == 0);
      CHECK(max_diff(put.row_range(at, {n, cols}), y.row_range(i * n, {n, cols})) == 0);
      CHECK(max_diff(put.row_range(2 * i * n, {n, cols}), x.row_range(2 * i * n, {n, cols})) == 0);
    }
  }
  const Tensor counts = Tensor::dense({4}, DType::i64);
  for (int64_t b = 0; b < 4; ++b) counts.data<int64_t>()[b] = 10 + b;
  CHECK(take_sequences(counts, some).data<int64_t>()[1] == 13);
  CHECK(put_sequences(counts, some, Tensor::zeros({2}, DType::i64)).data<int64_t>()[1] == 0);
  CHECK_THROWS_AS(take_sequences(counts, {1, 4}), ShapeError);
  CHECK_THROWS_AS(take_sequences(counts, {1, 1}), ShapeError);
  CHECK_THROWS_AS(put_sequences(counts, some, counts), ShapeError);
}

TEST_CASE("sequences: gradients, costs and precision") {
  const Sequences some = {0, 2};
  expect_sound([&](const Tensors& x) { return std::vector{take_sequences(x[0], some)}; }, {random({3, 2, 4}, 1)});
  expect_sound([&](const Tensors& x) { return std::vector{put_sequences(x[0], some, x[1])}; },
               {random({3, 2, 4}, 1), random({2, 2, 4}, 2)});
}
