#include "cores/attention/reference_groups.h"
#include "cores/attention/token_groups.h"
#include "nn/tail.h"
#include "ops/op_checks.h"
#include "ops/splice.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr int64_t kTokens = 13;

struct Inputs {
  Tensor q, k, v;
  explicit Inputs(int64_t n = kTokens, int64_t heads = 1, DType t = DType::f64)
      : q(random({2, n, heads * 3}, 1, t)), k(random({2, n, heads * 3}, 2, t)), v(random({2, n, heads * 5}, 3, t)) {}
};

const ScoreAttentionOptions kBiased{.group = 4, .score = Pointwise::laplace, .bias_at = {0, 1, 1, 2}, .bias_scale = 2};

}  // namespace

TEST_CASE("score_attention: relu^2, laplace and sigmoid scores with a bias, by definition") {
  const Poison poison;
  const Inputs x;
  const Tensor bias = random({3}, 4);
  for (Pointwise score : {Pointwise::relu2, Pointwise::laplace, Pointwise::sigmoid})
    for (int64_t group : {1, 2, 4, 5, 13, 20})
      for (int64_t chunk : {0, 1, 3}) {
        ScoreAttentionOptions o{.group = group, .score = score, .chunk = chunk};
        CHECK(max_diff(score_attention(x.q, x.k, x.v, {}, o), reference_score_attention(x.q, x.k, x.v, {}, o)) < 1e-12);
        o.bias_scale = 1.5;
        for (int64_t d = 0; d < group; ++d) o.bias_at.push_back(static_cast<int32_t>(d % 3));
        CHECK(max_diff(score_attention(x.q, x.k, x.v, bias, o), reference_score_attention(x.q, x.k, x.v, bias, o)) <
              1e-12);
      }
  // Heads are apart.
  const Inputs two(kTokens, 2);
  ScoreAttentionOptions o = kBiased;
  o.heads = 2;
  const Tensor y = score_attention(two.q, two.k, two.v, bias, o);
  for (int64_t h = 0; h < 2; ++h)
    CHECK(max_diff(y.columns(h * 5, 5),
                   reference_score_attention(two.q.columns(h * 3, 3).clone(), two.k.columns(h * 3, 3).clone(),
                                             two.v.columns(h * 5, 5).clone(), bias, kBiased)) < 1e-12);
}

TEST_CASE("group_memory: a token reads the groups before its own, by definition") {
  const Poison poison;
  const Inputs x;
  for (int64_t group : {1, 2, 4, 5, 13, 20}) {
    const GroupMemoryResult r = group_memory(x.q, x.k, x.v, 1, group);
    CHECK(max_diff(r.o, reference_group_memory(x.q, x.k, x.v, group)) < 1e-12);
  }
  const Inputs two(kTokens, 2);
  const Tensor y = group_memory(two.q, two.k, two.v, 2, 4).o;
  for (int64_t h = 0; h < 2; ++h)
    CHECK(max_diff(y.columns(h * 5, 5),
                   reference_group_memory(two.q.columns(h * 3, 3).clone(), two.k.columns(h * 3, 3).clone(),
                                          two.v.columns(h * 5, 5).clone(), 4)) < 1e-12);
}

TEST_CASE("groups: gradients of everything, through the state and the cache") {
  const Poison poison;
  const Inputs x(7);
  const Tensor state = random({2, 1, 3, 5}, 5), ck = random({2, 3, 3}, 6), cv = random({2, 3, 5}, 7),
               bias = random({3}, 8);
  const Tensor segments = integers({2, 7}, {0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0});
  for (const Tensor& s : {Tensor(), segments})
    for (const auto& counts : {std::vector<int64_t>{0, 3}, std::vector<int64_t>{2, 1}}) {
      const Tensor before = integers({2}, counts);
      const auto far = [&](const Tensors& in) {
        const GroupMemoryResult r = group_memory(in[0], in[1], in[2], 1, 4, in[3], {in[4], in[5], before}, s);
        return std::vector{r.o, r.state};
      };
      CHECK(gradient_error(far, {x.q, x.k, x.v, state, ck, cv}) < 1e-7);
      const auto after = [&](const Tensors& in) { return std::vector{far(in)[1]}; };
      CHECK(gradient_error(after, {x.q, x.k, x.v, state, ck, cv}) < 1e-7);
      const auto local = [&](const Tensors& in) {
        return std::vector{score_attention(in[0], in[1], in[2], in[3], kBiased, {in[4], in[5], before}, s)};
      };
      CHECK(gradient_error(local, {x.q, x.k, x.v, bias, ck, cv}) < 1e-7);
    }
  const auto fresh = [&](const Tensors& in) {
    const GroupMemoryResult r = group_memory(in[0], in[1], in[2], 1, 3);
    return std::vector{r.o, r.state, score_attention(in[0], in[1], in[2], in[3], {.group = 3})};
  };
  CHECK(gradient_error(fresh, {x.q, x.k, x.v, bias}) < 1e-7);
  // Where nothing ends, the state is handed on as it is, and so is its gradient.
  const auto brief = [&](const Tensors& in) {
    const GroupMemoryResult r = group_memory(in[0], in[1], in[2], 1, 9, in[3],
                                             {random({2, 8, 3}, 1), random({2, 8, 5}, 2), integers({2}, {0, 1})});
    return std::vector{r.o, r.state};
  };
  CHECK(gradient_error(brief, {x.q, x.k, x.v, state}) < 1e-7);
}

TEST_CASE("groups: the same bits for any number of threads, f32 near f64") {
  const Function both = [](const Tensors& x) {
    return Tensors{score_attention(x[0], x[1], x[2], {}, {.group = 70}), group_memory(x[0], x[1], x[2], 1, 70).o};
  };
  const Inputs x(200, 1, DType::f32);
  expect_same_bits_on_threads(both, {x.q, x.k, x.v});
  const Tensors wide = inputs_as({x.q, x.k, x.v}, DType::f64);
  expect_near(both({x.q, x.k, x.v}),
              {reference_score_attention(wide[0], wide[1], wide[2], {}, {.group = 70}),
               reference_group_memory(wide[0], wide[1], wide[2], 70)},
              1e-5);
}

TEST_CASE("groups: shapes that don't fit are refused") {
  const Inputs x(7);
  CHECK_THROWS_WITH_AS(score_attention(x.q, x.v, x.v, {}, {.group = 4}), doctest::Contains("q[2, 7, 3]"), ShapeError);
  CHECK_THROWS_WITH_AS(score_attention(x.q, x.k, x.v, random({3}, 1), {.group = 4}), doctest::Contains("below 4"),
                       ShapeError);
  CHECK_THROWS_AS(group_memory(x.q, x.k, x.v, 1, 4, random({2, 1, 3, 4}, 1)), ShapeError);
  CHECK_THROWS_WITH_AS(
      group_memory(x.q, x.k, x.v, 1, 4, {}, {random({2, 3, 3}, 1), random({2, 3, 5}, 1), integers({2}, {0, 4})}),
      doctest::Contains("4 tokens before the call"), ShapeError);
}

TEST_CASE("group_pieces: cuts a row at groups of its documents") {
  const uint8_t starts[] = {0, 0, 0, 1, 0, 0, 0, 0, 1};
  const auto pieces = group_pieces(starts, 9, 3, 1);
  const std::vector<std::vector<int64_t>> want = {
      {0, 2, 1, 0, 1}, {2, 3, 0, 0, 0}, {3, 6, 0, 1, 1}, {6, 8, 0, 0, 0}, {8, 9, 0, 1, 0}};
  REQUIRE(pieces.size() == want.size());
  for (size_t i = 0; i < want.size(); ++i)
    CHECK(std::vector<int64_t>{pieces[i].from, pieces[i].to, pieces[i].before, pieces[i].fresh, pieces[i].complete} ==
          want[i]);
}

TEST_CASE("keep_tail: the last rows of what was kept and what is new, in place or recorded") {
  for (int64_t had : {0, 2, 5})
    for (int64_t fresh : {1, 3, 7})
      for (int64_t want = 0; want <= std::min<int64_t>(5, had + fresh); ++want) {
        const Tensor field = random({2, 5, 3}, 1), x = random({2, fresh, 3}, 2);
        const Counts before(2, had), after(2, want);
        Tape tape;
        const Tape::Recording recording(tape);
        const Tensor recorded = keep_tail(tape.leaf(field), tape.leaf(x), before, after);
        const Tensor kept = keep_tail(field.clone(), x, before, after);
        for (int64_t b = 0; b < 2; ++b)
          for (int64_t r = 0; r < want; ++r) {
            const int64_t from = had + fresh - want + r;
            const double expected = from < had ? at(field, b * 5 + from, 1) : at(x, b * fresh + from - had, 1);
            CHECK(at(kept, b * 5 + r, 1) == expected);
            CHECK(at(recorded, b * 5 + r, 1) == expected);
          }
      }
}
