#include "cores/ttt/ttt.h"

#include <tuple>

#include "autodiff/meter.h"
#include "cores/ttt/reference_ttt.h"
#include "ops/op_checks.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr int64_t kBatch = 2;

struct Inputs {
  // q k v eta | token_scale weight bias w0 b0 | w b sum_w sum_b
  Tensors x;
  Tensor positions;
  TttOptions options{.heads = 2, .eps = 0.05};

  // The state stands `start` tokens into a document.
  Inputs(int64_t n, int64_t size, int64_t steps, int64_t start) {
    const int64_t c = 2 * n;
    for (uint64_t i = 0; i < 3; ++i) x.push_back(random({kBatch, steps, c}, 1 + i));
    x.push_back(random({kBatch, steps, 2}, 4, DType::f64, 0.3));
    const Tensor tau = random({size}, 5, DType::f64, 0.1);
    for (int64_t i = 0; i < size; ++i) put(tau, 0, i, at(tau, 0, i) + 1 / static_cast<double>(i + 1));
    x.push_back(tau);
    for (uint64_t i = 0; i < 2; ++i) x.push_back(random({c}, 6 + i));
    x.push_back(random({2, n, n}, 8, DType::f64, 0.5));
    x.push_back(random({c}, 9));
    x.push_back(random({kBatch, 2, n, n}, 10, DType::f64, 0.5));
    x.push_back(random({kBatch, c}, 11));
    const double open = start % size ? 0.2 : 0;
    x.push_back(random({kBatch, 2, n, n}, 12, DType::f64, open));
    x.push_back(random({kBatch, c}, 13, DType::f64, open));
    positions = Tensor::dense({kBatch, steps}, DType::i64);
    for (int64_t i = 0; i < kBatch * steps; ++i) positions.data<int64_t>()[i] = start + i % steps;
  }
  TttModel model() const { return {x[4], x[5], x[6], x[7], x[8]}; }
  TttState state() const { return {x[9], x[10], x[11], x[12]}; }
  Inputs as(DType type) const {
    Inputs other = *this;
    other.x = inputs_as(x, type);
    return other;
  }
  TttResult run(int64_t from, int64_t to, const TttState& before) const {
    const auto cut = [&](const Tensor& t) { return tokens(t, from, to); };
    const Tensor here = positions.columns(from, to - from).clone();
    return ttt(cut(x[0]), cut(x[1]), cut(x[2]), cut(x[3]), model(), before, here, options);
  }
  TttResult whole() const { return run(0, x[0].dim(1), state()); }
  TttResult reference() const { return reference_ttt(x[0], x[1], x[2], x[3], model(), state(), positions, options); }
};

Tensors list(const TttResult& r) { return {r.o, r.state.w, r.state.b, r.state.sum_w, r.state.sum_b}; }

void check_near(const TttResult& a, const TttResult& b, double bound) { expect_near(list(a), list(b), bound); }

Function results(const TttOptions& options, const Tensor& positions) {
  return [=](const Tensors& x) {
    const TttState before = x.size() > 9 ? TttState{x[9], x[10], x[11], x[12]} : TttState{};
    return list(ttt(x[0], x[1], x[2], x[3], {x[4], x[5], x[6], x[7], x[8]}, before, positions, options));
  };
}

// Results and the gradients of all inputs.
Tensors everything(const Inputs& in) { return outputs_and_gradients(results(in.options, in.positions), in.x); }

}  // namespace

TEST_CASE("ttt: the whole, any split and single steps are the reference loop") {
  const Poison poison;
  for (const auto& [n, size, steps] : {std::tuple{3, 1, 7}, {5, 4, 14}, {24, 5, 13}, {65, 16, 39}, {64, 16, 33}})
    for (int64_t start : {0, 3, 32}) {
      CAPTURE(n);
      CAPTURE(size);
      CAPTURE(start);
      const Inputs in(n, size, steps, start);
      const TttResult whole = in.whole(), reference = in.reference();
      check_near(whole, reference, 1e-12);
      const auto part = [&](int64_t from, int64_t to, const Tensors& s) {
        return list(in.run(from, to, {s[0], s[1], s[2], s[3]}));
      };
      expect_same_in_parts(part, {in.x.begin() + 9, in.x.end()}, steps, 1e-12);
      CHECK(same_bits(in.run(0, steps / 2, in.state()).o, tokens(whole.o, 0, steps / 2)));
    }
}

TEST_CASE("ttt: without a state, and without positions") {
  const Inputs in(6, 4, 11, 0);
  const TttResult none = in.run(0, 11, {}), given = in.whole();
  check_near(none, given, 1e-300);
  check_near(ttt(in.x[0], in.x[1], in.x[2], in.x[3], in.model(), {}, {}, in.options), given, 1e-300);
}

TEST_CASE("ttt: gradients of everything, through the initial and the final state") {
  const Poison poison;
  for (const auto& [n, size, steps, start] : {std::tuple{2, 1, 4, 3},
                                              {3, 4, 11, 0},
                                              {3, 4, 11, 6},
                                              {3, 4, 10, 6},
                                              {2, 5, 2, 6},
                                              {3, 4, 5, 7},
                                              {2, 3, 6, 3}}) {
    CAPTURE(size);
    CAPTURE(start);
    const Inputs in(n, size, steps, start);
    CHECK(gradient_error(results(in.options, in.positions), in.x) < 1e-7);
    const Tensors without(in.x.begin(), in.x.begin() + 9);
    CHECK(gradient_error(results(in.options, in.positions), without) < 1e-7);
  }
}

TEST_CASE("ttt: gradients where one result alone, or one input alone, is of interest") {
  const Poison poison;
  const Inputs in(3, 3, 7, 4);
  const Function all = results(in.options, in.positions);
  expect_gradients(all, in.x);
  // One tensor in three places: gradients add up.
  const auto shared = [&](const Tensors& x) {
    auto y = in.x;
    y[0] = y[1] = y[2] = x[0];
    return all(y);
  };
  CHECK(gradient_error(shared, {in.x[0]}) < 1e-7);
}

TEST_CASE("ttt: a token scale and a learning rate of zero keep the model, and their gradients are right") {
  Inputs in(3, 3, 8, 1);
  for (int64_t i = 0; i < 3; ++i) put(in.x[4], 0, i, 0);
  check_near(in.whole(), in.reference(), 1e-12);
  CHECK(same_bits(in.whole().state.w, in.x[9]));
  CHECK(gradient_error(results(in.options, in.positions), in.x) < 1e-7);
  fill(in.x[3], 0);
  CHECK(gradient_error(results(in.options, in.positions), in.x) < 1e-7);
}

TEST_CASE("ttt: packed documents are the reference loop's, gradients too") {
  const Poison poison;
  Inputs in(3, 4, 11, 5);
  // Row 0 goes on with a document; row 1 begins with one.
  in.positions = integers({2, 11}, {5, 6, 7, 0, 1, 2, 3, 4, 5, 0, 1, 0, 1, 2, 0, 0, 1, 2, 3, 4, 5, 6});
  check_near(in.whole(), in.reference(), 1e-12);
  CHECK(gradient_error(results(in.options, in.positions), in.x) < 1e-7);
  const Tensors packed = everything(in);
  for (size_t i = 5 + 9; i < packed.size(); ++i) {
    const int64_t half = packed[i].rows() / 2;
    const Shape part = packed[i].shape().with(0, 1);
    CHECK(max_abs(packed[i].row_range(half, part)) == 0);  // nothing reaches what is before row 1
    CHECK(max_abs(packed[i].row_range(0, part)) > 0);
  }
}

TEST_CASE("ttt: what comes later changes no bit of what came before, NaN included") {
  for (const auto& [n, size] : {std::tuple{5, 4}, {32, 16}, {64, 16}}) {
    const Inputs in(n, size, 37, 3);
    const TttResult whole = in.whole();
    for (int64_t cut : {1, 4, 9, 13, 30}) {
      Inputs other = in;
      for (size_t i = 0; i < 4; ++i) {
        other.x[i] = in.x[i].clone();
        for (int64_t b = 0; b < kBatch; ++b)
          for (int64_t t = cut; t < 37; ++t) put(other.x[i], b * 37 + t, 0, std::nan(""));
      }
      CHECK(same_bits(tokens(other.whole().o, 0, cut), tokens(whole.o, 0, cut)));
    }
  }
}

TEST_CASE("ttt: large inputs and rows without variance stay finite") {
  Inputs in(8, 4, 13, 0);
  in.options.eps = 1e-6;
  for (int64_t t = 0; t < 13; ++t)
    for (int64_t c = 0; c < 16; ++c) {
      put(in.x[0], t, c, 1e4 * at(in.x[0], t, c));
      put(in.x[1], t, c, t % 2 ? 0 : 1e4 * at(in.x[1], t, c));
    }
  fill(in.x[8], 0.5);
  for (const Inputs& x : {in, in.as(DType::f32)})
    for (const Tensor& t : everything(x)) CHECK(max_diff(t, t) == 0);
  check_near(in.whole(), in.reference(), 1e-9);
}

TEST_CASE("ttt: f32 is near f64, forward and backward") {
  const Inputs in(32, 16, 100, 7);
  expect_near(everything(in.as(DType::f32)), everything(in), 1e-3);
}

TEST_CASE("ttt: the same bits for any number of threads") {
  const Inputs in(32, 16, 90, 7);
  expect_same_bits_on_threads(results(in.options, in.positions), in.x);
}

TEST_CASE("ttt: states its cost, works on shapes alone, refuses what doesn't fit") {
  const Inputs in(4, 5, 12, 0);
  {
    Meter meter;
    const MetaMode meta;
    const auto shape = [](const Tensor& t) { return Tensor::empty(t.shape(), DType::f32); };
    ttt(shape(in.x[0]), shape(in.x[1]), shape(in.x[2]), shape(in.x[3]),
        {shape(in.x[4]), shape(in.x[5]), shape(in.x[6]), shape(in.x[7]), shape(in.x[8])}, {}, {}, in.options);
    CHECK(meter.total.forward_flops == 2.0 * 12 * 8 * (3 * 2 * 4 + 2 * 2 * 3));
    CHECK(meter.total.dense_flops == meter.total.forward_flops);
  }
  const auto with = [&](size_t i, const Tensor& t) {
    auto x = in.x;
    x[i] = t;
    return [=, &in] { results(in.options, in.positions)(x); };
  };
  CHECK_THROWS_WITH_AS(with(1, random({2, 12, 6}, 1))(), doctest::Contains("k[2, 12, 6]"), ShapeError);
  CHECK_THROWS_WITH_AS(with(3, random({2, 12, 4}, 1))(), doctest::Contains("it should be [2, 12, 2]"), ShapeError);
  CHECK_THROWS_AS(with(4, random({2, 5}, 1))(), ShapeError);
  CHECK_THROWS_AS(with(7, random({2, 4, 5}, 1))(), ShapeError);
  CHECK_THROWS_WITH_AS(with(11, Tensor())(), doctest::Contains("sum_w"), ShapeError);
  CHECK_THROWS_AS(with(12, random({2, 8}, 1, DType::f32))(), ShapeError);
  CHECK_THROWS_AS(results({.heads = 3}, {})(in.x), ShapeError);
  CHECK_THROWS_AS(results(in.options, Tensor::zeros({2, 11}, DType::i64))(in.x), ShapeError);
}
