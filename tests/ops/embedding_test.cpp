#include "ops/embedding.h"

#include "ops/op_checks.h"

using namespace effllm;
using namespace effllm::test;

namespace {

const Function kEmbedding = [](const Tensors& x) { return std::vector{embedding(x[0], x[1])}; };

Tensor ids(const Shape& s, const std::vector<int32_t>& values) {
  const Tensor t = Tensor::dense(s, DType::i32);
  std::copy(values.begin(), values.end(), t.data<int32_t>());
  return t;
}

}  // namespace

TEST_CASE("embedding: each id takes its row of the table") {
  const Tensor table = random({5, 64}, 1), y = embedding(ids({2, 3}, {4, 0, 4, 1, 2, 3}), table);
  CHECK(y.shape() == Shape{2, 3, 64});
  const int64_t expected[] = {4, 0, 4, 1, 2, 3};
  for (int64_t r = 0; r < 6; ++r)
    for (int64_t c = 0; c < 64; ++c) REQUIRE(at(y, r, c) == at(table, expected[r], c));
}

TEST_CASE("embedding: gradients, costs, precision, threads, with ids that repeat and rows that no id takes") {
  expect_sound(kEmbedding, {ids({2, 3}, {1, 3, 1, 1, 0, 3}), random({5, 4}, 2)});
  std::vector<int32_t> many;
  for (int32_t i = 0; i < 90; ++i) many.push_back(i * i % 7);
  expect_same_bits_on_threads(kEmbedding, {ids({3, 30}, many), random({7, 200}, 5)});
}

TEST_CASE("embedding: ids from the table's end on take the rows of another, with gradients of both") {
  const Tensor table = random({5, 4}, 2), more = random({2, 4}, 3);
  const Function f = [](const Tensors& x) { return std::vector{embedding(x[0], x[1], x[2])}; };
  const Tensor y = f({ids({1, 3}, {6, 4, 5}), table, more})[0];
  for (int64_t c = 0; c < 4; ++c) {
    CHECK(at(y, 0, c) == at(more, 1, c));
    CHECK(at(y, 1, c) == at(table, 4, c));
    CHECK(at(y, 2, c) == at(more, 0, c));
  }
  expect_sound(f, {ids({2, 3}, {1, 6, 1, 4, 6, 5}), table, more});
  expect_sound(f, {ids({1, 2}, {1, 4}), table, more});
  CHECK_THROWS_WITH_AS(f({ids({1, 1}, {7}), table, more}), doctest::Contains("vocabulary of 7"), DataError);
  CHECK_THROWS_AS(f({ids({1, 1}, {0}), table, random({2, 3}, 3)}), ShapeError);
}

TEST_CASE("embedding: an id outside the table is a data error, wrong types and ranks are refused") {
  const Tensor table = random({5, 4}, 1);
  CHECK_THROWS_WITH_AS(embedding(ids({1, 2}, {0, 5}), table), doctest::Contains("vocabulary of 5"), DataError);
  CHECK_THROWS_AS(embedding(ids({1, 1}, {-1}), table), DataError);
  CHECK_THROWS_AS(embedding(ids({2}, {0, 1}), table), ShapeError);
  CHECK_THROWS_AS(embedding(Tensor::zeros({1, 2}, DType::i64), table), ShapeError);
  CHECK_THROWS_AS(embedding(ids({1, 1}, {0}), random({5}, 1)), ShapeError);
}
