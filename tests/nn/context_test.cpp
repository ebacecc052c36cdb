#include "nn/context.h"

#include <doctest/doctest.h>

#include "support/tensors.h"

using namespace effllm;

namespace {

Tensor numbers(const Shape& s, const std::vector<int64_t>& values) {
  const Tensor t = Tensor::dense(s, DType::i64);
  std::copy(values.begin(), values.end(), t.data<int64_t>());
  return t;
}

std::vector<int64_t> values(const Tensor& t) { return {t.data<int64_t>(), t.data<int64_t>() + t.numel()}; }

using Numbers = std::vector<int64_t>;

}  // namespace

TEST_CASE("context: positions count from 0, or on from what the state has seen") {
  Context cx;
  CHECK(values(token_positions(cx, 2, 3)) == Numbers{0, 1, 2, 0, 1, 2});
  MixerState state = make_state({}, 2, DType::f32);
  cx.state = &state;
  state.seen.data<int64_t>()[1] = 10;
  CHECK(values(token_positions(cx, 2, 3)) == Numbers{0, 1, 2, 10, 11, 12});
}

TEST_CASE("context: positions begin again with each document") {
  MixerState state = make_state({}, 2, DType::f32);
  state.seen.data<int64_t>()[0] = state.seen.data<int64_t>()[1] = 5;
  const Tensor segments = numbers({2, 4}, {0, 0, 1, 1, 1, 2, 3, 3});
  Context cx;
  cx.segments = &segments;
  CHECK(values(token_positions(cx, 2, 4)) == Numbers{0, 1, 0, 1, 0, 0, 0, 1});
  cx.state = &state;
  CHECK(values(token_positions(cx, 2, 4)) == Numbers{5, 6, 0, 1, 0, 0, 0, 1});
}

TEST_CASE("context: given positions are taken as they are") {
  const Tensor given = numbers({1, 2}, {40, 7});
  Context cx;
  cx.positions = &given;
  CHECK(token_positions(cx, 1, 2).raw() == given.raw());
}

TEST_CASE("context: the state counts the tokens of the running document") {
  MixerState state = make_state({}, 4, DType::f32);
  advance(state.seen, 3, nullptr);
  CHECK(values(state.seen) == Numbers{3, 3, 3, 3});
  const Tensor segments = numbers({4, 3}, {0, 0, 0, 1, 1, 1, 0, 1, 2, 0, 1, 1});
  advance(state.seen, 3, &segments);
  CHECK(values(state.seen) == Numbers{6, 3, 1, 2});
}

TEST_CASE("context: any cut of a sequence with documents gives the same positions") {
  const Numbers s = {0, 0, 1, 1, 1, 2, 3, 3, 3};
  const Tensor whole_segments = numbers({1, 9}, s);
  Context whole;
  whole.segments = &whole_segments;
  const Numbers expected = values(token_positions(whole, 1, 9));
  for (int64_t cut = 0; cut <= 9; ++cut) {
    MixerState state = make_state({}, 1, DType::f32);
    Numbers joined;
    for (const auto& [from, to] : {std::pair{int64_t{0}, cut}, std::pair{cut, int64_t{9}}}) {
      if (from == to) continue;
      Numbers part;  // starts are counted within each call
      for (int64_t t = from; t < to; ++t)
        part.push_back(s[static_cast<size_t>(t)] - (from ? s[static_cast<size_t>(from - 1)] : 0));
      const Tensor segments = numbers({1, to - from}, part);
      Context cx;
      cx.state = &state;
      cx.segments = &segments;
      for (int64_t p : values(token_positions(cx, 1, to - from))) joined.push_back(p);
      advance(state.seen, to - from, &segments);
    }
    CAPTURE(cut);
    CHECK(joined == expected);
    CHECK(values(state.seen) == Numbers{3});
  }
}

TEST_CASE("context: a state is zeros, counts its bytes, and a clone is independent") {
  const StateSpec spec{{{"s", {2, 3}}, {"z", {4}, Growth::per_token}}};
  CHECK(spec.bytes(DType::f32) == (6 + 4) * 4);
  CHECK(spec.bytes(DType::f64) == (6 + 4) * 8);
  MixerState state = make_state(spec, 5, DType::f64);
  REQUIRE(state.fields.size() == 2);
  CHECK(state.batch() == 5);
  CHECK(state.field("s").shape() == Shape{5, 2, 3});
  CHECK(state.field("z").dtype() == DType::f64);
  CHECK(test::max_abs(state.field("s")) == 0);
  MixerState branch = state.clone();
  fill(state.field("s"), 1);
  advance(state.seen, 2, nullptr);
  CHECK(test::max_abs(branch.field("s")) == 0);
  CHECK(values(branch.seen) == Numbers{0, 0, 0, 0, 0});
}

TEST_CASE("context: in meta mode positions have a shape and nothing is read") {
  const MetaMode on;
  MixerState state = make_state({{{"s", {2, 3}}}}, 2, DType::f32);
  Context cx;
  cx.state = &state;
  CHECK(token_positions(cx, 2, 3).shape() == Shape{2, 3});
  advance(state.seen, 3, nullptr);
}

TEST_CASE("context: a tap sees values under the name of their place, and may replace them") {
  const Tensor x = test::random({2, 3}, 1), other = test::random({2, 3}, 2);
  Context cx;
  cx.site = "layers.3.mixer";
  CHECK(tap(cx, "out", x).raw() == x.raw());
  std::string name;
  Taps taps = [&](std::string_view n, const Tensor&) { return name = n, other; };
  cx.taps = &taps;
  CHECK(tap(cx, "out", x).raw() == other.raw());
  CHECK(name == "layers.3.mixer.out");
  taps = [&](std::string_view, const Tensor&) { return test::random({3, 2}, 1); };
  CHECK_THROWS_WITH_AS(tap(cx, "out", x), doctest::Contains("layers.3.mixer.out"), ShapeError);
}

TEST_CASE("context: random numbers of a place depend on seed, place, purpose and step") {
  Context cx;
  cx.site = "a";
  cx.when = {.seed = 1, .step = 2, .first_sample = 3};
  const uint64_t first = random_at(cx, "dropout").bits(0);
  Context same = cx, step = cx, site = cx, seed = cx;
  same.when.first_sample = 4;  // where the shard begins doesn't count
  step.when.step = 3;
  site.site = "b";
  seed.when.seed = 2;
  CHECK(random_at(same, "dropout").bits(0) == first);
  for (const Context& c : {step, site, seed}) CHECK(random_at(c, "dropout").bits(0) != first);
  CHECK(random_at(cx, "other").bits(0) != first);
}
