#include "ops/rotary.h"

#include "ops/op_checks.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr int64_t kDim = 6, kTable = 16;
constexpr double kTheta = 100;

std::shared_ptr<const RotaryTable> table() {
  static const auto t = std::make_shared<const RotaryTable>(kDim, kTheta, kTable);
  return t;
}

Tensor positions(int64_t batch, int64_t tokens, int64_t first) {
  const Tensor p = Tensor::dense({batch, tokens}, DType::i64);
  for (int64_t i = 0; i < p.numel(); ++i) p.data<int64_t>()[i] = first + i % tokens;
  return p;
}

Function op(int64_t heads, const Tensor& p) {
  return [=](const Tensors& x) {
    const Tensor at_here = MetaMode::on() ? Tensor::dense(p.shape(), p.dtype()) : p;
    return std::vector{rotary(x[0], at_here, heads, table())};
  };
}

// Column c of one head of a row at position p: pairs (i, i + dim/2) are turned by p theta^(-2i/dim).
double plain(const Tensor& x, int64_t row, int64_t head, int64_t head_dim, int64_t c, int64_t p) {
  const int64_t half = kDim / 2, from = head * head_dim;
  if (c >= kDim) return at(x, row, from + c);
  const double angle = static_cast<double>(p) * std::pow(kTheta, -2.0 * static_cast<double>(c % half) / kDim);
  const double a = at(x, row, from + c % half), b = at(x, row, from + c % half + half);
  return c < half ? a * std::cos(angle) - b * std::sin(angle) : b * std::cos(angle) + a * std::sin(angle);
}

}  // namespace

TEST_CASE("rotary: turns half-split pairs of each head, leaves the rest of a head, goes on beyond the table") {
  for (int64_t head_dim : {kDim, kDim + 3})
    for (int64_t first : {int64_t{0}, kTable - 2, int64_t{100'000}}) {
      const Tensor x = random({2, 4, 2 * head_dim}, 1), y = rotary(x, positions(2, 4, first), 2, table());
      double worst = 0;
      for (int64_t r = 0; r < 8; ++r)
        for (int64_t h = 0; h < 2; ++h)
          for (int64_t c = 0; c < head_dim; ++c)
            worst = std::max(worst, std::abs(at(y, r, h * head_dim + c) - plain(x, r, h, head_dim, c, first + r % 4)));
      CHECK(worst < 1e-11);
    }
}

TEST_CASE("rotary: gradients, costs, precision, the same bits on any number of threads") {
  expect_sound(op(2, positions(2, 3, 1)), {random({2, 3, 2 * kDim}, 2)});
  expect_sound(op(1, positions(2, 3, kTable - 1)), {random({2, 3, kDim + 1}, 3)});
  expect_same_bits_on_threads(op(2, positions(3, 50, 0)), {random({3, 50, 2 * kDim}, 7)});
}

TEST_CASE("rotary: may begin behind a head's first columns, which stay") {
  constexpr int64_t kFirst = 3, kWidth = kFirst + kDim + 1;
  const Tensor x = random({2, 3, 2 * kWidth}, 2), p = positions(2, 3, 5), y = rotary(x, p, 2, table(), kFirst);
  for (int64_t h = 0; h < 2; ++h) {
    const Tensor own = x.columns(h * kWidth, kWidth).clone(), got = y.columns(h * kWidth, kWidth);
    const Tensor turned = rotary(own.columns(kFirst, kDim + 1).clone().reshape({2, 3, kDim + 1}), p, 1, table());
    for (int64_t r = 0; r < 6; ++r) {
      for (int64_t c = 0; c < kFirst; ++c) CHECK(at(got, r, c) == at(own, r, c));
      for (int64_t c = 0; c <= kDim; ++c) CHECK(at(got, r, kFirst + c) == at(turned, r, c));
    }
  }
  expect_sound(
      [&](const Tensors& in) {
        const Tensor here = MetaMode::on() ? Tensor::dense(p.shape(), p.dtype()) : p;
        return std::vector{rotary(in[0], here, 2, table(), kFirst)};
      },
      {x});
  CHECK_THROWS_AS(rotary(x, p, 2, table(), kFirst + 2), ShapeError);
}

TEST_CASE("rotary: f32 angles are rounded once, inside the table and beyond") {
  const int64_t at_positions[] = {3, kTable + 1000};
  float cos32[6], sin32[6];
  double cos64[6], sin64[6];
  table()->rows(at_positions, 2, cos32, sin32);
  table()->rows(at_positions, 2, cos64, sin64);
  for (int i = 0; i < 6; ++i) {
    CHECK(cos32[i] == static_cast<float>(cos64[i]));
    CHECK(sin32[i] == static_cast<float>(sin64[i]));
  }
}

TEST_CASE("rotary: a table that nobody reads takes no memory") {
  const auto huge = std::make_shared<const RotaryTable>(128, kTheta, int64_t{1} << 60);
  const MetaMode meta;
  const Tensor x = Tensor::dense({1, 3, 256}, DType::f32);
  CHECK(rotary(x, Tensor::dense({1, 3}, DType::i64), 2, huge).shape() == x.shape());
}

TEST_CASE("rotary: tables of one size share their values, others don't") {
  const RotaryTable a(kDim, kTheta, kTable), b(kDim, kTheta, kTable), c(kDim, 2 * kTheta, kTable);
  const int64_t at_position[] = {5};
  double cosines[3][3], sines[3][3];
  a.rows(at_position, 1, cosines[0], sines[0]);
  b.rows(at_position, 1, cosines[1], sines[1]);
  c.rows(at_position, 1, cosines[2], sines[2]);
  CHECK(cosines[0][1] == cosines[1][1]);
  CHECK(sines[0][2] == sines[1][2]);
  CHECK(cosines[0][1] != cosines[2][1]);
}

TEST_CASE("rotary: odd widths, narrow heads and wrong positions are refused") {
  CHECK_THROWS_AS(RotaryTable(5, kTheta, 4), ShapeError);
  const Tensor x = random({2, 3, 12}, 1);
  CHECK_THROWS_AS(rotary(x, positions(2, 3, 0), 3, table()), ShapeError);
  CHECK_THROWS_AS(rotary(x, positions(2, 4, 0), 2, table()), ShapeError);
  CHECK_THROWS_AS(rotary(x, Tensor::zeros({2, 3}, DType::i32), 2, table()), ShapeError);
  CHECK_THROWS_AS(rotary(x.reshape({6, 12}), positions(2, 3, 0), 2, table()), ShapeError);
}
