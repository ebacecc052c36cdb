#include "cores/route/tokens.h"

#include <limits>

#include "ops/op_checks.h"

using namespace effllm;
using namespace effllm::test;

namespace {

const Function kTake = [](const Tensors& x) { return std::vector{take_tokens(x[0], x[1])}; };
const Function kPut = [](const Tensors& x) { return std::vector{put_tokens(x[0], x[1], x[2])}; };
int64_t number(const Tensor& t, int64_t row, int64_t column) { return t.view<int64_t>().row(row)[column]; }

}  // namespace

TEST_CASE("tokens: those of the lists, and back in their places") {
  const Poison poison;
  const Tensor x = random({2, 4, 3}, 1), at_places = integers({2, 2}, {0, 3, 1, 2}), y = random({2, 2, 3}, 2);
  const Tensor taken = take_tokens(x, at_places), put_back = put_tokens(x, at_places, y);
  const Tensor marks = marked_tokens(at_places, 4, DType::f64);
  for (int64_t b = 0; b < 2; ++b) {
    for (int64_t i = 0; i < 2; ++i)
      for (int64_t c = 0; c < 3; ++c) {
        CHECK(at(taken, b * 2 + i, c) == at(x, b * 4 + number(at_places, b, i), c));
        CHECK(at(put_back, b * 4 + number(at_places, b, i), c) == at(y, b * 2 + i, c));
      }
    for (int64_t t = 0; t < 4; ++t) {
      const bool listed = number(at_places, b, 0) == t || number(at_places, b, 1) == t;
      CHECK(at(marks, b * 4 + t, 0) == (listed ? 1 : 0));
      if (!listed) CHECK(at(put_back, b * 4 + t, 0) == at(x, b * 4 + t, 0));
    }
  }
  const Tensor segments = integers({2, 4}, {0, 0, 1, 2, 5, 6, 7, 8});
  CHECK(number(take_tokens(segments, at_places), 0, 1) == 2);
  CHECK(number(take_tokens(segments, at_places), 1, 0) == 6);
  CHECK_THROWS_AS(take_tokens(x, integers({2, 2}, {0, 4, 1, 2})), ShapeError);
  CHECK_THROWS_AS(take_tokens(x, integers({2, 2}, {3, 0, 1, 2})), ShapeError);
  CHECK_THROWS_AS(put_tokens(x, at_places, random({2, 3, 3}, 1)), ShapeError);
}

TEST_CASE("tokens: gradients, costs, precision, threads") {
  const Tensor places = integers({2, 2}, {0, 3, 1, 2});
  expect_sound(kTake, {random({2, 4, 3}, 1), places});
  expect_sound(kPut, {random({2, 4, 3}, 1), places, random({2, 2, 3}, 2)});
  const Tensor many = top_tokens(random({3, 70, 1}, 5), 40);
  expect_same_bits_on_threads(kTake, {random({3, 70, 8}, 1), many});
  expect_same_bits_on_threads(kPut, {random({3, 70, 8}, 1), many, random({3, 40, 8}, 2)});
}

TEST_CASE("top_tokens: exactly so many, ties to the first, in their order, and how near the choice was") {
  const Tensor score = Tensor::zeros({2, 5, 1}, DType::f64);
  const double values[] = {1, 3, 1, 2, 1, 0, 0, 0, 0, 0};
  for (int64_t r = 0; r < 10; ++r) put(score, r, 0, values[r]);
  Tensor margin;
  const Tensor best = top_tokens(score, 3, &margin);
  const int64_t want[] = {0, 1, 3, 0, 1, 2};
  for (int64_t i = 0; i < 6; ++i) CHECK(number(best, i / 3, i % 3) == want[i]);
  const double margins[] = {0, 2, 0, 1, 0};
  for (int64_t r = 0; r < 5; ++r) CHECK(at(margin, r, 0) == margins[r]);
  CHECK(top_tokens(score, 0).numel() == 0);
  top_tokens(score, 5, &margin);
  CHECK(at(margin, 0, 0) == std::numeric_limits<double>::infinity());
  CHECK_THROWS_AS(top_tokens(score, 6), ShapeError);
}
