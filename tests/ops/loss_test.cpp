#include "ops/loss.h"

#include "ops/arithmetic.h"
#include "ops/linear.h"
#include "ops/op_checks.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr double kWeight = 0.37;
const Function kLoss = [](const Tensors& x) { return std::vector{cross_entropy(x[0], x[1], kWeight)}; };

Tensor targets(const Shape& s, const std::vector<int32_t>& values) {
  const Tensor t = Tensor::dense(s, DType::i32);
  std::copy(values.begin(), values.end(), t.data<int32_t>());
  return t;
}

// -log softmax(z)[target] by long double sums.
double nats(const Tensor& z, int64_t row, int32_t target) {
  long double sum = 0;
  for (int64_t c = 0; c < z.cols(); ++c) sum += std::exp(static_cast<long double>(at(z, row, c) - at(z, row, target)));
  return static_cast<double>(std::log(sum));
}

}  // namespace

TEST_CASE("cross_entropy: the sum over rows of -log softmax, without the ignored rows") {
  const Tensor z = random({2, 3, 64}, 1, DType::f64, 3);
  const std::vector<int32_t> t = {5, -1, 63, 0, -100, 7};
  double expected = 0;
  for (int64_t r = 0; r < 6; ++r)
    if (t[static_cast<size_t>(r)] >= 0) expected += nats(z, r, t[static_cast<size_t>(r)]);
  const Tensor loss = cross_entropy(z, targets({2, 3}, t), kWeight);
  CHECK(loss.shape() == Shape{1});
  CHECK(loss.dtype() == DType::f64);  // of f32 logits too
  CHECK(at(loss, 0, 0) == doctest::Approx(kWeight * expected).epsilon(1e-13));
  CHECK(cross_entropy(to_dtype(z, DType::f32), targets({6}, t), 1).dtype() == DType::f64);
  CHECK(at(cross_entropy(z, targets({6}, {-1, -1, -1, -1, -1, -1}), 1), 0, 0) == 0);
}

TEST_CASE("cross_entropy: gradients, costs, precision, the same bits on any number of threads") {
  expect_sound(kLoss, {random({2, 2, 7}, 2), targets({2, 2}, {3, -1, 0, 6})});
  std::vector<int32_t> many;
  for (int32_t i = 0; i < 150; ++i) many.push_back(i % 11 - 1);
  expect_same_bits_on_threads(kLoss, {random({150, 10}, 5), targets({150}, many)});
}

TEST_CASE(
    "linear_cross_entropy: equals a dense layer and its cross-entropy, gradients too, from a transposed copy too") {
  const Tensor x = random({1, 600, 6}, 1), w = random({9, 6}, 2), copy = Tensor::empty({6, 9}, DType::f64);
  for (int64_t r = 0; r < 9; ++r)
    for (int64_t c = 0; c < 6; ++c) put(copy, c, r, at(w, r, c));
  std::vector<int32_t> t;
  for (int32_t i = 0; i < 600; ++i) t.push_back(i % 10 - 1);
  const Tensor to = targets({600}, t);
  const auto plain = outputs_and_gradients(
      [&](const auto& in) { return std::vector{cross_entropy(linear(in[0], in[1]), to, kWeight)}; }, {x, w});
  for (const Tensor& transposed : {Tensor(), copy}) {
    const auto fused = outputs_and_gradients(
        [&](const auto& in) { return std::vector{linear_cross_entropy(in[0], in[1], transposed, to, kWeight).loss}; },
        {x, w});
    for (size_t i = 0; i < plain.size(); ++i) CHECK(max_diff(fused[i], plain[i]) < 1e-11);
  }
  CHECK(max_diff(linear_cross_entropy(x, w, {}, to, kWeight).loss, plain[0]) < 1e-11);  // where nothing records
}

TEST_CASE("linear_cross_entropy: gradients, costs, precision and threads") {
  const Function f = [](const Tensors& x) {
    return std::vector{linear_cross_entropy(x[0], x[1], {}, x[2], kWeight).loss};
  };
  expect_sound(f, {random({2, 2, 5}, 2), random({7, 5}, 3), targets({2, 2}, {3, -1, 0, 6})});
  std::vector<int32_t> many(700, 3);
  expect_same_bits_on_threads(f, {random({700, 20}, 5), random({40, 20}, 6), targets({700}, many)});
  CHECK_THROWS_AS(linear_cross_entropy(random({2, 5}, 1), random({7, 4}, 1), {}, targets({2}, {0, 1}), 1), ShapeError);
  CHECK_THROWS_AS(linear_cross_entropy(random({2, 5}, 1), random({7, 5}, 1), {}, targets({2}, {0, 7}), 1), DataError);
}

TEST_CASE("linear_cross_entropy: log^2 Z is in the gradient in the same pass, and the loss has the same bits") {
  constexpr double kZ = 0.3;
  const Tensor x = random({600, 6}, 1), w = random({300, 6}, 2);
  std::vector<int32_t> t;
  for (int32_t i = 0; i < 600; ++i) t.push_back(i % 10 - 1);
  const Tensor to = targets({600}, t), z = linear(x, w);
  const LossAndSquares both = linear_cross_entropy(x, w, {}, to, kWeight, kZ);
  CHECK(same_bits(both.loss, linear_cross_entropy(x, w, {}, to, kWeight).loss));
  double squares = 0;
  for (int64_t r = 0; r < 600; ++r)
    if (t[static_cast<size_t>(r)] >= 0) squares += std::pow(nats(z, r, 0) + at(z, r, 0), 2);
  CHECK(at(both.squares, 0, 0) == doctest::Approx(squares).epsilon(1e-12));
  const Function f = [](const Tensors& in) {
    const LossAndSquares y = linear_cross_entropy(in[0], in[1], {}, in[2], kWeight, kZ);
    return std::vector{add(y.loss, scale(y.squares, kZ))};
  };
  expect_sound(f, {random({2, 2, 5}, 2), random({7, 5}, 3), targets({2, 2}, {3, -1, 0, 6})});
  expect_same_bits_on_threads(f, {x, w, to});
  CHECK_THROWS_AS(
      outputs_and_gradients(
          [&](const Tensors& in) { return std::vector{linear_cross_entropy(in[0], in[1], {}, to, kWeight, kZ).loss}; },
          {x, w}),
      ShapeError);  // backward starts from both or it is not theirs
}

TEST_CASE("linear_cross_entropy: a weight of each row multiplies its loss and gradient, and not its log^2 Z") {
  const Tensor x = random({600, 6}, 1), w = random({9, 6}, 2), z = linear(x, w);
  const Tensor weights = Tensor::dense({600}, DType::f64), ones = Tensor::full({600}, DType::f64, 1);
  std::vector<int32_t> t;
  double expected = 0;
  for (int32_t i = 0; i < 600; ++i) {
    t.push_back(i % 10 - 1);
    weights.data<double>()[i] = t.back() < 0 ? std::numeric_limits<double>::infinity() : 0.01 * i;
    if (t.back() >= 0) expected += 0.01 * i * nats(z, i, t.back());
  }
  const Tensor to = targets({600}, t);
  const auto loss = [&](const Tensor& of_rows) { return linear_cross_entropy(x, w, {}, to, kWeight, 0.3, of_rows); };
  CHECK(at(loss(weights).loss, 0, 0) == doctest::Approx(kWeight * expected).epsilon(1e-12));
  CHECK(same_bits(loss(weights).squares, loss({}).squares));
  CHECK(same_bits(loss(ones).loss, loss({}).loss));
  const Tensor few = Tensor::dense({4}, DType::f64);
  for (int64_t r = 0; r < 4; ++r) few.data<double>()[r] = 0.5 + static_cast<double>(r);
  for (const double z_weight : {0.0, 0.3})
    expect_sound(
        [&](const Tensors& in) {
          const LossAndSquares y = linear_cross_entropy(in[0], in[1], {}, in[2], kWeight, z_weight, few);
          return std::vector{z_weight == 0 ? y.loss : add(y.loss, scale(y.squares, z_weight))};
        },
        {random({2, 2, 5}, 2), random({7, 5}, 3), targets({2, 2}, {3, -1, 0, 6})});
  CHECK_THROWS_AS(loss(Tensor::full({599}, DType::f64, 1)), ShapeError);
  CHECK_THROWS_AS(loss(Tensor::full({600}, DType::f32, 1)), ShapeError);
}

TEST_CASE("cross_entropy: huge logits overflow nothing") {
  for (DType type : {DType::f32, DType::f64}) {
    const Tensor z = Tensor::full({3, 4}, type, -1e30);
    put(z, 0, 1, 1e30);
    put(z, 1, 1, 500);
    const Tensor t = targets({3}, {1, 1, 2});
    const auto r = outputs_and_gradients([&](const auto& x) { return std::vector{cross_entropy(x[0], t, 1)}; }, {z});
    CHECK(at(r[0], 0, 0) == doctest::Approx(std::log(4.0)));  // two sure and right, one even
    CHECK(std::isfinite(max_abs(r[1])));
    put(z, 0, 1, -1e30);
    put(z, 0, 2, 1e4);
    CHECK(at(cross_entropy(z.row_range(0, {1, 4}), targets({1}, {1}), 1), 0, 0) > 1e29);
  }
}

TEST_CASE("cross_entropy: a target outside the logits is a data error, wrong counts and types are refused") {
  const Tensor z = random({2, 4}, 1);
  CHECK_THROWS_WITH_AS(cross_entropy(z, targets({2}, {0, 4}), 1), doctest::Contains("4 logits"), DataError);
  CHECK_THROWS_AS(cross_entropy(z, targets({3}, {0, 1, 2}), 1), ShapeError);
  CHECK_THROWS_AS(cross_entropy(z, Tensor::zeros({2}, DType::i64), 1), ShapeError);
}
