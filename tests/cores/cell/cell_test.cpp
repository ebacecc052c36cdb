#include "cores/cell/cell.h"

#include "cores/cell/reference_cell.h"
#include "kernels/rows.h"
#include "ops/op_checks.h"

using namespace effllm;
using namespace effllm::test;

namespace {

using Inputs = Tensors;  // of the op, without segments; then the results

Inputs lstm(const Inputs& x, const Tensor& segments = {}) {
  const LstmResult r = lstm_cell(x[0], x[1], x[2], x[3], segments);
  return {r.h, r.last_h, r.last_c};
}
Inputs gru(const Inputs& x, const Tensor& segments = {}) {
  const GruResult r = gru_cell(x[0], x[1], x[2], x[3], segments);
  return {r.h, r.last};
}
Inputs slow_lstm(const Inputs& x, const Tensor& segments = {}) {
  const LstmResult r = reference_lstm(x[0], x[1], x[2], x[3], segments);
  return {r.h, r.last_h, r.last_c};
}
Inputs slow_gru(const Inputs& x, const Tensor& segments = {}) {
  const GruResult r = reference_gru(x[0], x[1], x[2], x[3], segments);
  return {r.h, r.last};
}

struct Cell {
  const char* name;
  Inputs (*fast)(const Inputs&, const Tensor&);
  Inputs (*slow)(const Inputs&, const Tensor&);
  int64_t gates;
  bool bias;  // input 2 is a bias, and one state follows; otherwise two states
};
constexpr Cell kCells[] = {{"lstm", lstm, slow_lstm, 4, false}, {"gru", gru, slow_gru, 3, true}};

Inputs inputs(const Cell& cell, int64_t batch, int64_t tokens, int64_t width, bool states = true, double scale = 1) {
  Inputs x = {random({batch, tokens, cell.gates * width}, 1, DType::f64, scale),
              random({cell.gates * width, width}, 2, DType::f64, scale / std::sqrt(static_cast<double>(width))),
              cell.bias ? random({width}, 3) : random({batch, width}, 3), random({batch, width}, 4)};
  if (!states) x[3] = Tensor();
  if (!states && !cell.bias) x[2] = Tensor();
  return x;
}
// The first row goes on with a document and has more, the second begins with a start.
Tensor documents(int64_t length) {
  std::vector<int64_t> t;
  for (int64_t i = 0; i < length; ++i) t.push_back(i < 3 ? 0 : i < 4 ? 1 : 2);
  for (int64_t i = 0; i < length; ++i) t.push_back(i < length - 1 ? 1 : 2);
  return integers({2, length}, t);
}

}  // namespace

TEST_CASE("cells: the reference loop at odd sizes, with states and without") {
  const Poison poison;
  for (const Cell& cell : kCells)
    for (const auto& [batch, length, width] :
         {std::array<int64_t, 3>{1, 1, 1}, {2, 13, 5}, {1, 9, 16}, {3, 8, 17}, {9, 7, 33}, {15, 11, 31}, {35, 8, 3}})
      for (bool states : {true, false}) {
        CAPTURE(cell.name);
        CAPTURE(width);
        const Inputs x = inputs(cell, batch, length, width, states), fast = cell.fast(x, {}), slow = cell.slow(x, {});
        expect_near(fast, slow, 1e-13);
      }
  const Inputs x = inputs(kCells[0], 2, 9, 140);  // two blocks of k and an edge of columns
  CHECK(max_diff(lstm(x)[0], slow_lstm(x)[0]) < 1e-12);
}

TEST_CASE("cells: the full Jacobian, with documents and without") {
  for (const Cell& cell : kCells)
    for (const int64_t length : {5, 9})  // products with the weight as it is, and laid out
      for (const Tensor& segments : {Tensor(), documents(length)}) {
        CAPTURE(cell.name);
        const auto all = [&](const Inputs& x) { return cell.fast(x, segments); };
        expect_sound(all, inputs(cell, 2, length, 3));
        CHECK(gradient_error(all, inputs(cell, 2, length, 3, false)) < 1e-7);
        const auto last = [&](const Inputs& x) { return Inputs{cell.fast(x, segments)[1]}; };
        CHECK(gradient_error(last, inputs(cell, 2, length, 3)) < 1e-7);
      }
  const auto one_state = [](const Inputs& x) { return lstm({x[0], x[1], x[2], x[2]}); };
  CHECK(gradient_error(one_state, {random({2, 4, 12}, 1), random({12, 3}, 2), random({2, 3}, 3)}) < 1e-7);
}

TEST_CASE("cells: packed documents are the reference loop's") {
  for (const Cell& cell : kCells) {
    CAPTURE(cell.name);
    const Tensor segments = documents(13);
    const Inputs x = inputs(cell, 2, 13, 6), packed = cell.fast(x, segments), slow = cell.slow(x, segments);
    expect_near(packed, slow, 1e-13);
    Inputs other = x;  // a state that no document goes on from changes nothing
    other[3] = random({2, 6}, 77);
    CHECK(same_bits(cell.fast(other, segments)[0].row_range(13, {1, 13, 6}), packed[0].row_range(13, {1, 13, 6})));
  }
}

TEST_CASE("cells: a sequence has the same bits whatever is beside it and after it, for any number of threads") {
  for (const Cell& cell : kCells) {
    CAPTURE(cell.name);
    const Inputs x = inputs_as(inputs(cell, 37, 12, 21, false), DType::f32), all = cell.fast(x, {});
    for (int64_t b : {0, 13, 36}) {
      Inputs one = x;
      one[0] = x[0].row_range(b * 12, {1, 12, x[0].cols()}).clone();
      CHECK(same_bits(cell.fast(one, {})[0], all[0].row_range(b * 12, {1, 12, 21}).clone()));
    }
    expect_same_bits_on_threads([&](const Inputs& y) { return cell.fast(y, {}); }, inputs(cell, 7, 40, 70));
    expect_same_bits_on_threads([&](const Inputs& y) { return cell.fast(y, {}); }, inputs(cell, 3, 2, 70));
  }
}

TEST_CASE("cells: gates that are shut or open, and every instruction set in f32") {
  for (const Cell& cell : kCells)
    for (double scale : {1.0, 300.0}) {
      CAPTURE(cell.name);
      const Inputs x = inputs(cell, 3, 10, 18, true, scale), near = inputs_as(x, DType::f32);
      const Inputs exact = cell.slow(inputs_as(near, DType::f64), {});
      for_each_isa([&] {
        const Inputs y = cell.fast(near, {});
        if (scale == 1.0) expect_near(y, exact, 2e-6);
        const Inputs g = outputs_and_gradients([&](const Inputs& z) { return cell.fast(z, {}); }, near);
        for (const Tensor& t : g) CHECK(max_abs(t) < 1e6);
      });
    }
}

TEST_CASE("cells: refuse shapes that don't fit, and cost nothing to ask on shapes alone") {
  const Tensor gates = random({2, 3, 8}, 1), weight = random({8, 2}, 1), state = random({2, 2}, 1);
  CHECK_THROWS_WITH_AS(lstm_cell(gates, random({8, 3}, 1)), doctest::Contains("recurrent[8, 3] for gates[2, 3, 8]"),
                       ShapeError);
  CHECK_THROWS_WITH_AS(lstm_cell(gates, weight, state), doctest::Contains("come together"), ShapeError);
  CHECK_THROWS_AS(lstm_cell(random({2, 3, 7}, 1), weight), ShapeError);
  CHECK_THROWS_AS(lstm_cell(gates, weight, state, random({2, 3}, 1)), ShapeError);
  CHECK_THROWS_AS(lstm_cell(gates, to_dtype(weight, DType::f32)), ShapeError);
  CHECK_THROWS_AS(lstm_cell(gates, weight, {}, {}, random({2, 3}, 1)), ShapeError);
  const Tensor in = random({2, 3, 6}, 1), square = random({6, 2}, 1), bias = random({2}, 1);
  CHECK_THROWS_WITH_AS(gru_cell(in, square, random({3}, 1)), doctest::Contains("bias[3] for in[2, 3, 6]"), ShapeError);
  CHECK_THROWS_AS(gru_cell(in, weight, bias), ShapeError);
  CHECK_THROWS_AS(gru_cell(in, square, bias, random({1, 2}, 1)), ShapeError);
  const MetaMode meta;
  const Tensor shape = Tensor::empty({2, 3, 8}, DType::f32), r = Tensor::empty({8, 2}, DType::f32);
  CHECK(lstm_cell(shape, r).last_c.shape() == Shape{2, 2});
}
