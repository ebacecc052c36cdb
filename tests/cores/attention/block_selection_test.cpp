#include "cores/attention/block_selection.h"

#include <limits>

#include "ops/op_checks.h"

using namespace effllm;
using namespace effllm::test;

namespace {

int64_t number(const Tensor& t, int64_t row, int64_t column) { return t.view<int64_t>().row(row)[column]; }

}  // namespace

TEST_CASE("largest: ties go to the lowest index, the answer is in order") {
  const std::vector<double> score = {1, 5, 5, 2, 5, 0, -std::numeric_limits<double>::infinity()};
  const auto best = [&](int64_t k) {
    std::vector<int64_t> index(static_cast<size_t>(k));
    index.resize(static_cast<size_t>(largest(score.data(), 7, k, index.data())));
    return index;
  };
  CHECK(best(0).empty());
  CHECK(best(1) == std::vector<int64_t>{1});
  CHECK(best(2) == std::vector<int64_t>{1, 2});
  CHECK(best(4) == std::vector<int64_t>{1, 2, 3, 4});
  CHECK(best(7) == std::vector<int64_t>{0, 1, 2, 3, 4, 5, 6});
  CHECK(best(9).size() == 7);
  const double late[] = {5, 5, 6};  // the best comes last: of the others the first stays
  int64_t index[2];
  CHECK(largest(late, 3, 2, index) == 2);
  CHECK(index[0] == 0);
  CHECK(index[1] == 2);
}

TEST_CASE("block_means: means of the complete blocks of every document, and their gradient") {
  const Poison poison;
  // Row 0: a document of 5 keys before the call that goes on for 2 tokens, then 6. Row 1: 3 keys, then 8.
  const Tensor k = random({2, 13, 3}, 1), offset = integers({2}, {5, 3});
  const Tensor segments = integers({2, 8}, {0, 0, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0});
  const Tensor m = block_means(k, 2, 8, offset, segments);
  CHECK(m.shape() == Shape{2, 7, 3});
  const std::vector<std::vector<int64_t>> first = {{0, 2, 4, 7, 9, 11}, {0, 2, 4, 6, 8}};
  Tensor want = Tensor::zeros({2, 7, 3}, DType::f64);
  for (int64_t b = 0; b < 2; ++b)
    for (int64_t f : first[static_cast<size_t>(b)])
      for (int64_t c = 0; c < 3; ++c)
        put(want, b * 7 + f / 2, c, (at(k, b * 13 + f, c) + at(k, b * 13 + f + 1, c)) / 2);
  CHECK(max_diff(m, want) < 1e-15);
  const auto f = [&](const Tensors& in) { return std::vector{block_means(in[0], 2, 8, offset, segments)}; };
  CHECK(gradient_error(f, {k}) < 1e-8);
  const Tensor one = Tensor::zeros({2, 1, 3}, DType::f64);
  block_mean(k, 1, 4, 2, one, 0);
  CHECK(same_bits(tokens(one, 0, 1).row_range(1, {1, 3}), m.row_range(7 + 2, {1, 3})));
  CHECK_THROWS_AS(block_means(k, 0, 8), ShapeError);
  CHECK_THROWS_AS(block_means(k, 2, 8, integers({2}, {6, 3})), ShapeError);
}

TEST_CASE("nearest_blocks: the own block and those whose mean has the largest product, by definition") {
  constexpr int64_t kT = 19, kBlock = 3, kHeads = 2;
  const Tensor q = random({2, kT, 8}, 1), k = random({2, kT, 8}, 2), zero = integers({2}, {0, 0});
  const Tensor means = block_means(k, kBlock, kT);
  for (int64_t top_k : {1, 2, 3, 9}) {
    const Tensor lists = nearest_blocks(q, means, kHeads, kBlock, top_k, zero);
    for (int64_t row = 0; row < 2 * kT; ++row)
      for (int64_t h = 0; h < kHeads; ++h) {
        const int64_t own = row % kT / kBlock;
        const auto score = [&](int64_t c) {
          double s = 0;
          for (int64_t x = 0; x < 4; ++x)
            s += at(q, row, h * 4 + x) * at(means, row / kT * means.dim(1) + c, h * 4 + x);
          return s;
        };
        int64_t named = 0;
        for (int64_t c = 0; c <= own; ++c) {
          int64_t better = 0;
          for (int64_t d = 0; d < own; ++d) better += score(d) > score(c);
          const bool wanted = c == own || better < top_k - 1;
          bool found = false;
          for (int64_t i = 0; i < top_k; ++i) found |= number(lists, row, h * top_k + i) == c;
          CHECK(found == wanted);
          named += wanted;
        }
        for (int64_t i = named; i < top_k; ++i) CHECK(number(lists, row, h * top_k + i) == -1);
      }
  }
  // Equal means: the lowest blocks. Another number of threads, a later part of the call: the same lists.
  const Tensor same = Tensor::full(means.shape(), DType::f64, 1),
               lists = nearest_blocks(q, same, kHeads, kBlock, 3, zero);
  CHECK(number(lists, kT - 1, 0) == 0);
  CHECK(number(lists, kT - 1, 1) == 1);
  CHECK(number(lists, kT - 1, 2) == 6);
  const Tensor whole = nearest_blocks(q, means, kHeads, kBlock, 3, zero);
  const Tensor late = nearest_blocks(tokens(q, 11, kT), means, kHeads, kBlock, 3, integers({2}, {11, 11}));
  for (int64_t b = 0; b < 2; ++b)
    for (int64_t t = 11; t < kT; ++t)
      for (int64_t c = 0; c < 6; ++c) CHECK(number(late, b * 8 + t - 11, c) == number(whole, b * kT + t, c));
  CHECK_THROWS_AS(nearest_blocks(q, means, 3, kBlock, 2, zero), ShapeError);
  CHECK_THROWS_AS(nearest_blocks(q, means, 2, 1, 2, zero), ShapeError);  // means of too few blocks
}
