// Choices by definition, and tokens sorted by expert against loops over tokens.
#include "cores/route/balance.h"
#include "cores/route/choose.h"
#include "cores/route/choose_tokens.h"
#include "cores/route/dispatch.h"
#include "ops/op_checks.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr int64_t kExperts = 5;
using Lists = std::vector<int64_t>;

Lists lists(const Tensor& t) {
  Lists all;
  for (int64_t r = 0; r < t.rows(); ++r)
    for (int64_t c = 0; c < t.cols(); ++c) all.push_back(t.view<int64_t>().row(r)[c]);
  return all;
}
Tensor scores(std::vector<double> values) {
  const auto n = static_cast<int64_t>(values.size());
  return Tensor::view_of<double>(values, {1, 1, n}).clone();
}
double margin_of(const Tensor& score, const Choosing& how) {
  Tensor margin;
  choose_experts(score, {}, how, &margin);
  return at(margin, 0, 0);
}
// Three tokens of each of two sequences: expert 3 is chosen by nobody, some choices are missing, a token has none.
const Tensor kChosen = integers({2, 3, 2}, {1, 0, 4, 1, -1, 2, 1, 4, -1, -1, 2, 1});

}  // namespace

TEST_CASE("choose_experts: the largest by count, share or sign, best first, ties to the lowest index") {
  const Tensor s = scores({0.1, 0.3, 0.1, 0.3, 0.2});
  CHECK(lists(choose_experts(s, {}, {.count = 3})) == Lists{1, 3, 4});
  CHECK(lists(choose_experts(s, {}, {.count = 5})) == Lists{1, 3, 4, 0, 2});
  CHECK(margin_of(s, {.count = 2}) == doctest::Approx(0.1));
  CHECK(margin_of(s, {.count = 1}) == 0);
  CHECK(margin_of(s, {.count = 5}) == std::numeric_limits<double>::infinity());
  const Choosing share{.by = ChooseBy::share, .share = 0.65};
  CHECK(lists(choose_experts(s, {}, share)) == Lists{1, 3, 4, -1, -1});
  CHECK(margin_of(s, share) == doctest::Approx(0.05));
  const Tensor signs = scores({-0.5, 2, 0, 0.25, -1});
  CHECK(lists(choose_experts(signs, {}, {.by = ChooseBy::positive})) == Lists{1, 3, -1, -1, -1});
  CHECK(margin_of(signs, {.by = ChooseBy::positive}) == 0);  // of the one at the bound
  const Tensor bias = Tensor::zeros({5}, DType::f64);
  put(bias, 0, 2, 0.25);
  CHECK(lists(choose_experts(s, bias, {.count = 2})) == Lists{2, 1});
}

TEST_CASE("choose_experts: groups count with their two best, and those left out are out of question, below 0 too") {
  const Choosing how{.count = 2, .groups = 3, .kept = 1};
  CHECK(lists(choose_experts(scores({0.9, 0.1, 0.6, 0.5, 0.8, 0.2}), {}, how)) == Lists{2, 3});  // 1.0, 1.1, 1.0
  CHECK(lists(choose_experts(scores({-9, -8, -2, -1, -7, -3}), {}, how)) == Lists{3, 2});
  CHECK(margin_of(scores({0.9, 0.1, 0.6, 0.5, 0.8, 0.2}), how) == doctest::Approx(0.1));
  CHECK_THROWS_AS(choose_experts(scores({1, 2, 3, 4, 5}), {}, how), ShapeError);
  CHECK_THROWS_AS(choose_experts(scores({1, 2, 3, 4, 5, 6}), {}, {.count = 3, .groups = 3, .kept = 1}), ShapeError);
}

TEST_CASE("choose_tokens: an expert takes its share of each document, rounded up, ties to the first token") {
  // By expert 0: 0.5 0.9 0.5 0.1 | 0.2 0.3; expert 1 likes all alike.
  const Tensor s = Tensor::full({1, 6, 2}, DType::f64, 0.4), starts = integers({1, 6}, {0, 0, 0, 0, 1, 1});
  for (const auto& [t, v] : {std::pair{0, 0.5}, {1, 0.9}, {2, 0.5}, {3, 0.1}, {4, 0.2}, {5, 0.3}}) put(s, t, 0, v);
  const ChosenTokens two = choose_tokens(s, 0.5, starts);
  CHECK(lists(two.experts) == Lists{0, 1, 0, 1, -1, -1, -1, -1, 1, -1, 0, -1});
  CHECK(two.border.data<double>()[0] == doctest::Approx(4 * 0.5 + 2 * 0.25));
  CHECK(two.border.data<double>()[1] == doctest::Approx(6 * 0.4));
  const ChosenTokens one = choose_tokens(s, 0.5, {});
  CHECK(lists(one.experts) == Lists{0, 1, 0, 1, 0, 1, -1, -1, -1, -1, -1, -1});
  CHECK(one.border.data<double>()[0] == doctest::Approx(6 * 0.4));
  CHECK(choose_tokens(s, 1, {}).border.data<double>()[0] == doctest::Approx(6 * 0.05));  // all: half of the least
  CHECK(most_of(10, 0.3) == 3);
  CHECK(most_of(10, 0.31) == 4);
  CHECK(most_of(3, 0.01) == 1);
  CHECK_THROWS_AS(choose_tokens(s, 1.5, {}), ShapeError);
}

TEST_CASE("limit_experts: the first of a sequence stay, in the order of tokens or of choices") {
  const Tensor chosen = integers({1, 3, 2}, {1, 0, 0, 1, 0, 2});
  CHECK(lists(limit_experts(chosen, 3, 1, DropOrder::token_major)) == Lists{1, 0, -1, -1, -1, 2});
  CHECK(lists(limit_experts(chosen, 3, 1, DropOrder::choice_major)) == Lists{1, -1, 0, -1, -1, 2});
  CHECK(lists(limit_experts(kChosen, kExperts, 1, DropOrder::token_major)) ==
        Lists{1, 0, 4, -1, -1, 2, 1, 4, -1, -1, 2, -1});  // each sequence by itself
  CHECK(lists(limit_experts(kChosen, kExperts, 6, DropOrder::choice_major)) == lists(kChosen));
}

TEST_CASE("route: rows are packed by expert, in the order of tokens") {
  const Dispatch to = dispatch_to(kChosen, kExperts);
  CHECK(lists(to.starts) == Lists{0, 1, 5, 7, 7, 9});
  CHECK(lists(to.rows) == Lists{1, 0, 7, 2, -1, 5, 3, 8, -1, -1, 6, 4});
  CHECK(times_chosen(kChosen, kExperts) == std::vector<double>{1, 4, 2, 0, 2});
  CHECK_THROWS_AS(dispatch_to(kChosen, 4), ShapeError);
  const Dispatch tight = dispatch_to(kChosen, kExperts, 9);
  CHECK(pack_rows(random({2, 3, 4}, 1), tight).shape() == Shape{9, 4});
  CHECK_THROWS_WITH_AS(dispatch_to(kChosen, kExperts, 8), doctest::Contains("9 choices, with room for 8"), ShapeError);
}

TEST_CASE("route: a token's rows, each times its expert's weight, weighted and added up, as a loop has them") {
  const Poison poison;
  const Tensor x = random({2, 3, 4}, 1), w = random({kExperts * 3, 4}, 2), weights = random({2, 3, 2}, 3);
  Tensor transposed = Tensor::empty({4, kExperts * 3}, DType::f64);
  for (int64_t r = 0; r < 4; ++r)
    for (int64_t c = 0; c < kExperts * 3; ++c) put(transposed, r, c, at(w, c, r));
  const Dispatch to = dispatch_to(kChosen, kExperts);
  for (const Tensor& copy : {Tensor(), transposed}) {
    const Tensor y = unpack_rows(grouped_linear(pack_rows(x, to), w, to, copy), weights, to);
    for (int64_t r = 0; r < 6; ++r)
      for (int64_t c = 0; c < 3; ++c) {
        double want = 0;
        for (int64_t j = 0; j < 2; ++j)
          if (const int64_t e = kChosen.view<int64_t>().row(r)[j]; e >= 0)
            for (int64_t i = 0; i < 4; ++i) want += at(weights, r, j) * at(w, e * 3 + c, i) * at(x, r, i);
        CHECK(std::abs(at(y, r, c) - want) < 1e-14);
      }
  }
}

TEST_CASE("route: gradients, costs, precision, threads, refused shapes") {
  const Tensor x = random({2, 3, 4}, 1), w = random({kExperts * 3, 4}, 2), weights = random({2, 3, 2}, 3);
  const auto to = [] { return dispatch_to(kChosen, kExperts); };
  const Function pack = [&](const Tensors& in) { return std::vector{pack_rows(in[0], {in[1], in[2], in[1].numel()})}; };
  const Function linear = [&](const Tensors& in) { return std::vector{grouped_linear(in[0], in[1], {{}, in[2], 0})}; };
  const Function unpack = [&](const Tensors& in) {
    return std::vector{unpack_rows(in[0], in[1], {in[2], in[3], in[2].numel()})};
  };
  const Function scored = [&](const Tensors& in) { return std::vector{scores_of(in[0], in[1])}; };
  expect_sound(pack, {x, to().rows, to().starts});
  expect_sound(linear, {random({12, 4}, 4), w, to().starts});
  expect_sound(unpack, {random({12, 4}, 4), weights, to().rows, to().starts});
  expect_sound(scored, {random({2, 3, kExperts}, 5), kChosen});
  const Tensor many = random({3, 70, kExperts}, 6), chosen = choose_experts(many, {}, {.count = 2});
  const Dispatch there = dispatch_to(chosen, kExperts);
  expect_same_bits_on_threads(pack, {random({3, 70, 8}, 7), there.rows, there.starts});
  expect_same_bits_on_threads(linear, {random({420, 8}, 7), random({kExperts * 6, 8}, 8), there.starts});
  expect_same_bits_on_threads(unpack, {random({420, 8}, 7), random({3, 70, 2}, 8), there.rows, there.starts});
  CHECK_THROWS_AS(pack_rows(random({2, 4, 4}, 1), to()), ShapeError);
  CHECK_THROWS_AS(grouped_linear(random({12, 4}, 1), random({16, 4}, 2), to()), ShapeError);
  CHECK_THROWS_AS(unpack_rows(random({11, 4}, 1), weights, to()), ShapeError);
  CHECK_THROWS_AS(scores_of(random({2, 4, kExperts}, 1), kChosen), ShapeError);
}

TEST_CASE("experts_within, weights_of_all: those of a range, from its start, and their weights in order of experts") {
  const Tensor own = experts_within(kChosen, 1, 3), weights = random({2, 3, 2}, 1);
  CHECK(lists(own) == Lists{0, -1, -1, 0, -1, 1, 0, -1, -1, -1, 1, 0});
  const Tensor all = weights_of_all(weights, own, 2);
  for (int64_t r = 0; r < 6; ++r)
    for (int64_t e = 0; e < 2; ++e) {
      double want = 0;
      for (int64_t j = 0; j < 2; ++j)
        if (own.view<int64_t>().row(r)[j] == e) want = at(weights, r, j);
      CHECK(at(all, r, e) == want);
    }
  expect_sound([](const Tensors& in) { return std::vector{weights_of_all(in[0], in[1], 2)}; }, {weights, own});
  CHECK_THROWS_AS(weights_of_all(random({2, 3, 3}, 1), own, 2), ShapeError);
}

TEST_CASE("entropies: of rows that sum to one, with their gradient, 0 log 0 being 0") {
  const Tensor p = scores({0.5, 0.25, 0, 0.25});
  CHECK(*entropies(p).data<double>() == doctest::Approx(1.5 * std::log(2.0)));
  const Function f = [](const Tensors& in) { return std::vector{entropies(in[0])}; };
  expect_sound(f, {mapped(random({2, 3, 4}, 1), [](double v) { return std::abs(v) + 0.1; })});
}

TEST_CASE("weighted_total: of all tokens, or of each sequence with weights of its own, with its gradient") {
  const Tensor p = random({2, 3, 4}, 1), all = random({4}, 2), each = random({2, 4}, 3);
  for (const Tensor& weight : {all, each}) {
    double want = 0;
    for (int64_t r = 0; r < 6; ++r)
      for (int64_t e = 0; e < 4; ++e) want += 0.7 * at(p, r, e) * at(weight, weight.rows() > 1 ? r / 3 : 0, e);
    CHECK(std::abs(*weighted_total(p, weight, 0.7).data<double>() - want) < 1e-14);
    const Function f = [&](const Tensors& in) { return std::vector{weighted_total(in[0], weight, 0.7)}; };
    CHECK(gradient_error(f, {p}) < 1e-9);
  }
  CHECK_THROWS_AS(weighted_total(p, random({3, 4}, 1), 1), ShapeError);
}
