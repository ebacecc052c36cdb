// Numbers of a batch: each is uniform, and together they are spread evenly.
#include "objectives/spread.h"

#include <doctest/doctest.h>

#include <cmath>

#include "objectives/objective_checks.h"

using namespace effllm;
using namespace effllm::test;

TEST_CASE("spread: every place of a batch has all numbers below 1, and in each step all places share them out evenly") {
  constexpr int64_t kRows = 4, kEach = 3, kParts = kRows * kEach, kSteps = 2000;
  const Tensor ids = random_ids(kRows, 5, 7, 1);
  const BatchRows rows{ids, ids, {}};
  std::vector<std::array<int, 4>> quarters(kParts);
  Context cx;
  cx.seed = 3;
  for (cx.step = 0; cx.step < kSteps; ++cx.step) {
    const BatchSpread spread("test", rows, cx, kEach);
    std::vector<double> all;
    for (int64_t b = 0; b < kRows; ++b)
      for (int64_t k = 0; k < kEach; ++k) all.push_back(spread(b, k));
    double around = 0;
    for (size_t i = 0; i < all.size(); ++i) {
      REQUIRE(all[i] >= 0);
      REQUIRE(all[i] < 1);
      ++quarters[i][static_cast<size_t>(4 * all[i])];
      const double step = all[(i + 1) % all.size()] - all[i], gap = step < 0 ? step + 1 : step;
      CHECK(gap < 2.0 / kParts);
      around += gap;
    }
    CHECK(around == doctest::Approx(1).epsilon(1e-12));
  }
  for (const auto& place : quarters)
    for (const int n : place) CHECK(std::abs(n - kSteps / 4) < 5 * std::sqrt(kSteps * 3.0 / 16));
}

TEST_CASE("spread: a shard has the numbers of the whole batch, and other steps, seeds and purposes have others") {
  const Tensor ids = random_ids(6, 5, 7, 1), part = random_ids(2, 5, 7, 1);
  const BatchRows whole{ids, ids, {}}, shard{part, part, {}, 3, 6};
  Context cx, of_shard;
  cx.seed = of_shard.seed = 9;
  cx.step = of_shard.step = 41;
  cx.samples = 100;
  of_shard.samples = 103;
  const BatchSpread all("test", whole, cx, 2), some("test", shard, of_shard, 2);
  for (int64_t b = 0; b < 2; ++b)
    for (int64_t k = 0; k < 2; ++k) CHECK(some(b, k) == all(3 + b, k));
  std::vector<double> found = {all(0)};
  found.push_back(BatchSpread("other", whole, cx, 2)(0));
  ++cx.step, found.push_back(BatchSpread("test", whole, cx, 2)(0));
  ++cx.seed, found.push_back(BatchSpread("test", whole, cx, 2)(0));
  cx.samples = 900, found.push_back(BatchSpread("test", whole, cx, 2)(0));
  std::ranges::sort(found);
  CHECK(std::ranges::adjacent_find(found) == found.end());
}
