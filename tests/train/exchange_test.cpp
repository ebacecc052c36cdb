#include "train/exchange.h"

#include <doctest/doctest.h>

#include <cmath>

#include "base/random.h"
#include "support/models.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr Metric kBalance{"balance", "1", "of experts"};

// Numbers of very different sizes: another order of additions would be seen.
double number(uint64_t lane, uint64_t i) {
  const RandomStream numbers(lane, "lanes");
  return (numbers.uniform(2 * i) - 0.5) * std::pow(10, 12 * numbers.uniform(2 * i + 1));
}

// The sum of lanes [from, from + n) of a binary tree whose nodes are as wide as a power of two.
double tree(uint64_t from, uint64_t n, uint64_t i) {
  if (n == 1) return number(from, i);
  uint64_t half = 1;
  while (2 * half < n) half *= 2;
  return tree(from, half, i) + tree(from + half, n - half, i);
}

}  // namespace

TEST_CASE("exchange: gradient and ledger are summed in one binary tree, losses in the order of lanes") {
  ParamStore params;
  Scope(params).param("w", {3, 7}, Init::zeros());
  params.materialize(1, DType::f64);
  const auto elements = static_cast<uint64_t>(params.slab_elements());
  for (const uint64_t lanes : {1, 2, 3, 4, 5, 7, 8})
    for (const int threads : {1, 3}) {
      CAPTURE(lanes);
      const Threads some(threads);
      Exchange exchange(params, lanes);
      double loss = 0, squares = 0;
      for (uint64_t l = 0; l < lanes; ++l) {
        LaneSums& sums = exchange.lane(l);
        for (uint64_t i = 0; i < elements; ++i) sums.gradient.data<double>()[i] = number(l, i);
        loss += sums.loss = number(l, elements);
        sums.ledger = Ledger(0, 1);
        const Tensor part = Tensor::full({1}, DType::f64, number(l, elements + 1));
        sums.ledger.loss("a", kBalance, part, 1);
        if (l == lanes - 1) sums.ledger.loss("b", kBalance, part, 1);  // of one alone
      }
      const StepSums all = exchange.meet();
      for (uint64_t i = 0; i < elements; ++i) {
        CHECK(all.gradient.data<double>()[i] == tree(0, lanes, i));
        squares += tree(0, lanes, i) * tree(0, lanes, i);
      }
      CHECK(all.loss == loss);
      CHECK(all.norm == doctest::Approx(std::sqrt(squares)).epsilon(1e-12));
      const std::vector<Measured> rows = all.ledger.rows();
      REQUIRE(rows.size() == 2);
      CHECK(rows[0].name == "a.balance");
      CHECK(rows[0].value == tree(0, lanes, elements + 1));
      CHECK(rows[1].value == number(lanes - 1, elements + 1));
    }
}
