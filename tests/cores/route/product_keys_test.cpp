// The best pairs of sub-keys against a search of all, and rows of tables that tokens name against loops.
#include "cores/route/product_keys.h"

#include <algorithm>

#include "cores/route/listed_rows.h"
#include "ops/op_checks.h"

using namespace effllm;
using namespace effllm::test;

namespace {

int64_t number(const Tensor& t, int64_t r, int64_t c) { return t.view<int64_t>().row(r)[c]; }

struct Scored {
  double score;
  int64_t pair;
};
// All n * n of one head, best first, ties to the lowest.
std::vector<Scored> all_pairs(const Tensor& scores, int64_t row, int64_t head, int64_t n) {
  std::vector<Scored> all;
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j)
      all.push_back({at(scores, row, head * 2 * n + i) + at(scores, row, head * 2 * n + n + j), i * n + j});
  std::ranges::stable_sort(all, std::greater(), &Scored::score);
  return all;
}

}  // namespace

TEST_CASE("choose_pairs: two stages find what a search of all pairs finds, ties too") {
  constexpr int64_t n = 6, heads = 2;
  for (const bool ties : {true, false})
    for (const int64_t count : {1, 2, 5, 7, 16, 36}) {
      const Tensor scores = mapped(random({2, 5, heads * 2 * n}, static_cast<uint64_t>(count)),
                                   [&](double v) { return ties ? std::round(2 * v) : v; });
      const ChosenPairs chosen = choose_pairs(scores, heads, count);
      for (int64_t r = 0; r < 10; ++r)
        for (int64_t h = 0; h < heads; ++h) {
          const std::vector<Scored> all = all_pairs(scores, r, h, n);
          for (int64_t k = 0; k < count; ++k) {
            const int64_t pair = number(chosen.pairs, r, h * count + k);
            CHECK(pair == all[static_cast<size_t>(k)].pair);
            CHECK(number(chosen.first, r, h * count + k) == h * 2 * n + pair / n);
            CHECK(number(chosen.second, r, h * count + k) == h * 2 * n + n + pair % n);
          }
          const auto last = static_cast<size_t>(count);
          CHECK(at(chosen.margin, r, h) ==
                (last < all.size() ? all[last - 1].score - all[last].score : std::numeric_limits<double>::infinity()));
        }
    }
  CHECK_THROWS_AS(choose_pairs(random({1, 2, 6}, 1), 1, 10), ShapeError);
  CHECK_THROWS_AS(choose_pairs(random({1, 2, 6}, 1), 2, 1), ShapeError);
}

TEST_CASE("sub_key_scores: halves of queries by the sub-keys of their side, with gradients") {
  const Function f = [](const Tensors& in) { return std::vector{sub_key_scores(in[0], in[1], 2)}; };
  const Tensor q = random({2, 3, 2 * 4}, 1), keys = random({2 * 3, 2}, 2), y = f({q, keys})[0];
  for (int64_t r = 0; r < 6; ++r)
    for (int64_t h = 0; h < 2; ++h)
      for (int64_t k = 0; k < 6; ++k) {
        double want = 0;
        for (int64_t c = 0; c < 2; ++c) want += at(q, r, h * 4 + k / 3 * 2 + c) * at(keys, k, c);
        CHECK(std::abs(at(y, r, h * 6 + k) - want) < 1e-15);
      }
  expect_sound(f, {q, keys});
  expect_same_bits_on_threads(f, {random({3, 70, 16}, 3), random({10, 4}, 4)});
  CHECK_THROWS_AS(sub_key_scores(q, random({6, 3}, 1), 2), ShapeError);
}

TEST_CASE("listed rows: products with them and sums of them, as loops have them") {
  const Tensor lists = integers({2, 3, 2}, {4, 0, 2, 2, 0, 4, 4, 1, 2, 0, 1, 1});  // 3 by nobody, some twice
  const Tensor x = random({2, 3, 5}, 1), weights = random({2, 3, 2}, 2), table = random({5, 5}, 3);
  const Function dot = [](const Tensors& in) { return std::vector{dot_listed(in[0], in[1], in[2])}; };
  const Function sum = [](const Tensors& in) { return std::vector{add_listed(in[0], in[1], in[2])}; };
  const Tensor y = dot({x, table, lists})[0], z = sum({weights, table, lists})[0];
  for (int64_t r = 0; r < 6; ++r)
    for (int64_t c = 0; c < 5; ++c) {
      double want = 0;
      for (int64_t j = 0; j < 2; ++j) want += at(weights, r, j) * at(table, number(lists, r, j), c);
      CHECK(std::abs(at(z, r, c) - want) < 1e-15);
      if (c >= 2) continue;
      want = 0;
      for (int64_t i = 0; i < 5; ++i) want += at(x, r, i) * at(table, number(lists, r, c), i);
      CHECK(std::abs(at(y, r, c) - want) < 1e-15);
    }
  expect_sound(dot, {x, table, lists});
  expect_sound(sum, {weights, table, lists});
  Tensor many = Tensor::dense({3, 70, 4}, DType::i64);
  for (int64_t i = 0; i < many.numel(); ++i) many.data<int64_t>()[i] = i * 7 % 11;
  expect_same_bits_on_threads(dot, {random({3, 70, 130}, 4), random({11, 130}, 5), many});
  expect_same_bits_on_threads(sum, {random({3, 70, 4}, 4), random({11, 130}, 5), many});
  CHECK_THROWS_AS(dot_listed(random({2, 3, 4}, 1), table, lists), ShapeError);
  CHECK_THROWS_AS(add_listed(random({2, 3, 3}, 1), table, lists), ShapeError);
}
