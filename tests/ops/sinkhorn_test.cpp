#include "ops/sinkhorn.h"

#include "ops/op_checks.h"

using namespace effllm;
using namespace effllm::test;

namespace {

Function balanced(int64_t n, const SinkhornOptions& o) {
  return [=](const Tensors& x) { return std::vector{sinkhorn(x[0], n, o)}; };
}
// Largest distance of a sum from 1: of rows, of columns.
std::pair<double, double> distances(const Tensor& y, int64_t n) {
  double of_rows = 0, of_columns = 0;
  for (int64_t r = 0; r < y.rows(); ++r)
    for (int64_t i = 0; i < n; ++i) {
      double row = 0, column = 0;
      for (int64_t j = 0; j < n; ++j) row += at(y, r, i * n + j), column += at(y, r, j * n + i);
      of_rows = std::max(of_rows, std::abs(row - 1));
      of_columns = std::max(of_columns, std::abs(column - 1));
    }
  return {of_rows, of_columns};
}

}  // namespace

TEST_CASE("sinkhorn: rows and columns add up to one, those that were divided last to rounding") {
  const Tensor x = random({2, 19, 16}, 1, DType::f64, 2);
  const auto [rows, columns] = distances(sinkhorn(x, 4, {}), 4);
  CHECK(rows < 1e-14);
  CHECK(columns < 2e-2);
  CHECK(distances(sinkhorn(x, 4, {.iterations = 400}), 4).second < 1e-9);
  const auto soft = distances(sinkhorn(x, 4, {.start = SinkhornStart::softmax, .eps = 1e-6}), 4);
  CHECK(soft.second < 1e-5);
  CHECK(soft.second > 1e-7);  // eps is among the sums
  CHECK(soft.first < 1e-2);
  CHECK(distances(sinkhorn(x, 4, {.iterations = 400, .start = SinkhornStart::sigmoid, .eps = 1e-12}), 4).first < 1e-9);
}

TEST_CASE(
    "sinkhorn: one iteration is columns, then rows, of exp, from softmax columns alone, from sigmoid rows first") {
  const Tensor x = random({1, 1, 4}, 1);
  const auto e = [&](int64_t i) { return std::exp(at(x, 0, i)); };
  const double column[] = {e(0) + e(2), e(1) + e(3)},
               m[] = {e(0) / column[0], e(1) / column[1], e(2) / column[0], e(3) / column[1]};
  const Tensor y = sinkhorn(x, 2, {.iterations = 1});
  for (int64_t i = 0; i < 4; ++i) CHECK(std::abs(at(y, 0, i) - m[i] / (m[i / 2 * 2] + m[i / 2 * 2 + 1])) < 1e-15);
  const double eps = 0.1, row[] = {e(0) + e(1), e(2) + e(3)};
  const auto p = [&](int64_t i) { return e(i) / row[i / 2] + eps; };
  const Tensor soft = sinkhorn(x, 2, {.iterations = 1, .start = SinkhornStart::softmax, .eps = eps});
  for (int64_t i = 0; i < 4; ++i) CHECK(std::abs(at(soft, 0, i) - p(i) / (p(i % 2) + p(i % 2 + 2) + eps)) < 1e-15);
  const auto s = [&](int64_t i) { return 1 / (1 + std::exp(-at(x, 0, i))) + eps; };
  const auto divided = [&](int64_t i) { return s(i) / (s(i / 2 * 2) + s(i / 2 * 2 + 1) + eps); };
  const Tensor from_sigmoid = sinkhorn(x, 2, {.iterations = 1, .start = SinkhornStart::sigmoid, .eps = eps});
  for (int64_t i = 0; i < 4; ++i)
    CHECK(std::abs(at(from_sigmoid, 0, i) - divided(i) / (divided(i % 2) + divided(i % 2 + 2) + eps)) < 1e-15);
}

TEST_CASE("sinkhorn: a matrix with one row is 1, large numbers stay numbers") {
  CHECK(max_diff(sinkhorn(random({1, 3, 1}, 1), 1, {}), Tensor::full({1, 3, 1}, DType::f64, 1)) == 0);
  const Tensor big = random({1, 3, 9}, 1, DType::f64, 300);
  CHECK(distances(sinkhorn(big, 3, {}), 3).first < 1e-12);
}

TEST_CASE("sinkhorn: gradients, costs, threads, shapes") {
  for (const int64_t iterations : {1, 2, 7}) {
    expect_sound(balanced(2, {.iterations = iterations}), {random({2, 3, 4}, 1)});
    expect_sound(balanced(3, {.iterations = iterations}), {random({1, 2, 9}, 2)});
    for (const SinkhornStart start : {SinkhornStart::softmax, SinkhornStart::sigmoid})
      expect_sound(balanced(3, {.iterations = iterations, .start = start, .eps = 0.01}), {random({1, 2, 9}, 2)});
  }
  expect_same_bits_on_threads(balanced(4, {}), {random({5, 53, 16}, 1)});
  CHECK_THROWS_WITH_AS(sinkhorn(random({1, 2, 9}, 1), 2, {}), doctest::Contains("matrices of 2 rows"), ShapeError);
  CHECK_THROWS_AS(sinkhorn(random({1, 2, 9}, 1), 3, {.iterations = 0}), ShapeError);
}
