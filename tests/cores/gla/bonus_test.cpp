#include "cores/gla/bonus.h"

#include "cores/gla/gla.h"
#include "ops/op_checks.h"

using namespace effllm;
using namespace effllm::test;

namespace {

const Function kBonus = [](const Tensors& x) { return std::vector{add_bonus(x[0], x[1], x[2], x[3], x[4], 2)}; };

Tensors inputs(int64_t rows, int64_t dk, int64_t dv) {
  return {random({2, rows, 2 * dv}, 1), random({2, rows, 2 * dk}, 2), random({2, rows, 2 * dk}, 3),
          random({2, rows, 2 * dv}, 4), random({2 * dk}, 5)};
}

}  // namespace

TEST_CASE("bonus: with a bonus of ones an exclusive read is the usual one of an undecayed state") {
  auto x = inputs(7, 5, 3);
  x[4] = Tensor::full({10}, DType::f64, 1);
  const GlaOptions before{.heads = 2, .decay = Decay::none, .exclusive = true};
  GlaOptions after = before;
  after.exclusive = false;
  const Tensor o = gla(x[1], x[2], x[3], {}, {}, {}, before).o;
  CHECK(max_diff(add_bonus(o, x[1], x[2], x[3], x[4], 2), gla(x[1], x[2], x[3], {}, {}, {}, after).o) < 1e-13);
}

TEST_CASE("bonus: values, gradients, costs, precision, threads, refused shapes") {
  const Poison poison;
  for (const auto& [dk, dv] : {std::pair{1, 1}, {5, 3}, {17, 16}}) {
    const auto x = inputs(3, dk, dv);
    const Tensor y = kBonus(x)[0];
    for (int64_t r = 0; r < 6; ++r)
      for (int64_t h = 0; h < 2; ++h) {
        double s = 0;
        for (int64_t i = h * dk; i < (h + 1) * dk; ++i) s += at(x[1], r, i) * at(x[4], 0, i) * at(x[2], r, i);
        for (int64_t j = h * dv; j < (h + 1) * dv; ++j)
          CHECK(at(y, r, j) == doctest::Approx(at(x[0], r, j) + s * at(x[3], r, j)).epsilon(1e-12));
      }
  }
  expect_sound(kBonus, inputs(2, 3, 2));
  expect_same_bits_on_threads(kBonus, inputs(70, 8, 8));
  auto x = inputs(2, 3, 2);
  x[4] = random({5}, 1);
  CHECK_THROWS_AS(kBonus(x), ShapeError);
}
