#include "nn/call.h"

#include <doctest/doctest.h>

#include "base/error.h"
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

// Fields h and hh at the root, which counts, part.h and part.inner.h inside.
struct Place {
  std::shared_ptr<Site> site = std::make_shared<Site>();
  State state;
  Context cx;
  explicit Place(int64_t batch = 2) {
    site->field("h", {3});
    site->field("hh", {2});
    Site& part = site->child("part");
    part.field("h", {1});
    part.child("inner").field("h", {4});
    site->count_tokens();
    state = State(site, batch, 8, DType::f64);
    cx.state = &state;
  }
  Call call() const { return {cx, *site}; }
  Tensor positions(int64_t batch, int64_t tokens) const {
    return call().positions(Tensor::zeros({batch, tokens, 1}, DType::f32));
  }
  Tensor& seen() { return state.field(*site, "seen"); }
};

}  // namespace

TEST_CASE("call: fields are read and replaced by name, whatever their order") {
  Place p;
  const Call call = p.call();
  CHECK(call.has_state());
  CHECK(call.read("h").shape() == Shape{2, 3});
  CHECK(call.read("hh").shape() == Shape{2, 2});
  const Tensor value = test::random({2, 2}, 1);
  call.write("hh", value);
  CHECK(call.read("hh").raw() == value.raw());
  CHECK(p.state.field(*p.site, "hh").raw() == value.raw());
  CHECK(test::max_abs(p.state.field(*p.site, "h")) == 0);
}

TEST_CASE("call: a name that was not declared is an error that lists those that were, also without a state") {
  Place p;
  for (State* state : {&p.state, static_cast<State*>(nullptr)}) {
    p.cx.state = state;
    const Call call = p.call();
    for (const char* wrong : {"x", "", "h.", "part", "part.h"}) {
      CAPTURE(wrong);
      CHECK_THROWS_WITH_AS(call.read(wrong), doctest::Contains("h, hh, seen"), Error);
      CHECK_THROWS_WITH_AS(call.write(wrong, Tensor()), doctest::Contains(wrong), Error);
    }
    CHECK_THROWS_WITH_AS(call.child("part").read("hh"), doctest::Contains("`part.hh`"), Error);
  }
}

TEST_CASE("call: without a state nothing is read, kept or counted") {
  Place p;
  p.cx.state = nullptr;
  const Call call = p.call();
  CHECK_FALSE(call.has_state());
  CHECK_FALSE(call.read("h").defined());
  CHECK_FALSE(call.seen().defined());
  CHECK_FALSE(call.seen_after(3).defined());
  CHECK_FALSE(call.segments().defined());
  call.write("h", test::random({2, 3}, 1));
  call.advance(3);
  CHECK(test::max_abs(p.state.field(*p.site, "h")) == 0);
}

TEST_CASE("call: tokens are counted where the site counts, and a count that is held is replaced") {
  Place p;
  p.seen().data<int64_t>()[1] = 10;
  const Tensor before = p.seen(), segments = numbers({2, 3}, {0, 1, 1, 0, 0, 0});
  p.cx.segments = segments;
  const Call call = p.call();
  CHECK(call.segments().raw() == segments.raw());
  call.child("part").advance(3);
  CHECK(values(call.seen()) == Numbers{0, 10});
  CHECK(values(call.child("part").child("inner").seen()) == Numbers{0, 10});
  CHECK(values(call.seen_after(3)) == Numbers{2, 13});
  CHECK(values(call.seen()) == Numbers{0, 10});
  call.advance(3);
  CHECK(values(p.seen()) == Numbers{2, 13});
  CHECK(values(before) == Numbers{0, 10});
}

TEST_CASE("call: a field to be written in place is copied where another state holds it") {
  Place p;
  const std::byte* memory = p.call().own("h").raw();
  CHECK(p.call().own("h").raw() == memory);
  const State mark = p.state;
  fill(p.call().own("h"), 1);
  CHECK(p.state.field(*p.site, "h").raw() != memory);
  CHECK(test::max_abs(mark.field(*p.site, "h")) == 0);
  CHECK(test::max_abs(p.state.field(*p.site, "h")) == 1);
}

TEST_CASE("call: of picked sequences it reads, replaces and counts theirs, with their documents and samples") {
  Place p(3);
  p.state.field(*p.site, "h") = test::random({3, 3}, 1);
  const Tensor before = p.state.field(*p.site, "h");
  p.cx.segments = numbers({3, 2}, {0, 0, 0, 1, 1, 1});
  p.cx.samples = 10;
  CHECK_THROWS_WITH_AS(p.call().ids(), doctest::Contains("reads which tokens it is given"), Error);
  p.cx.ids = Tensor::dense({3, 2}, DType::i32);
  for (int32_t i = 0; i < 6; ++i) p.cx.ids.data<int32_t>()[i] = i;
  const Tokens picked = p.cx.pick({0, 1, 2}).pick({1, 2}), last = picked.pick({1});
  CHECK(last.sequences == Sequences{2});
  CHECK(Call(p.cx, last, *p.site).ids().data<int32_t>()[1] == 5);
  CHECK(last.samples[0] == 12);
  const Call call(p.cx, last, *p.site);
  CHECK(test::max_diff(call.read("h"), before.row_range(2, {1, 3})) == 0);
  call.write("h", Tensor::zeros({1, 3}, DType::f64));
  call.advance(2);
  const Tensor& after = p.state.field(*p.site, "h");
  CHECK(test::max_diff(after.row_range(0, {2, 3}), before.row_range(0, {2, 3})) == 0);
  CHECK(test::max_abs(after.row_range(2, {1, 3})) == 0);
  CHECK(values(p.seen()) == Numbers{0, 0, 2});
}

TEST_CASE("call: the count is of the running document") {
  Place p(4);
  p.call().advance(3);
  CHECK(values(p.seen()) == Numbers{3, 3, 3, 3});
  const Tensor segments = numbers({4, 3}, {0, 0, 0, 1, 1, 1, 0, 1, 2, 0, 1, 1});
  p.cx.segments = segments;
  p.call().advance(3);
  CHECK(values(p.seen()) == Numbers{6, 3, 1, 2});
}

TEST_CASE("call: positions count from 0, or on from what the state has seen, and begin again with each document") {
  Place p;
  p.seen() = numbers({2}, {5, 10});
  CHECK(values(p.positions(2, 3)) == Numbers{5, 6, 7, 10, 11, 12});
  const Tensor segments = numbers({2, 4}, {0, 0, 1, 1, 1, 2, 3, 3}), given = numbers({1, 2}, {40, 7});
  p.cx.segments = segments;
  CHECK(values(p.positions(2, 4)) == Numbers{5, 6, 0, 1, 0, 0, 0, 1});
  p.cx.state = nullptr;
  CHECK(values(p.positions(2, 4)) == Numbers{0, 1, 0, 1, 0, 0, 0, 1});
  p.cx.segments = Tensor();
  CHECK(values(p.positions(2, 3)) == Numbers{0, 1, 2, 0, 1, 2});
  p.cx.positions = given;
  CHECK(p.positions(1, 2).raw() == given.raw());
}

TEST_CASE("call: any cut of a sequence with documents gives the same positions") {
  const Numbers s = {0, 0, 1, 1, 1, 2, 3, 3, 3};
  const Tensor whole = numbers({1, 9}, s);
  Place p(1);
  p.cx.segments = whole;
  const Numbers expected = values(p.positions(1, 9));
  for (int64_t cut = 0; cut <= 9; ++cut) {
    Place q(1);
    Numbers joined;
    for (const auto& [from, to] : {std::pair{int64_t{0}, cut}, std::pair{cut, int64_t{9}}}) {
      if (from == to) continue;
      Numbers part;  // starts are counted within each call
      for (int64_t t = from; t < to; ++t)
        part.push_back(s[static_cast<size_t>(t)] - (from ? s[static_cast<size_t>(from - 1)] : 0));
      const Tensor segments = numbers({1, to - from}, part);
      q.cx.segments = segments;
      for (int64_t position : values(q.positions(1, to - from))) joined.push_back(position);
      q.call().advance(to - from);
    }
    CAPTURE(cut);
    CHECK(joined == expected);
    CHECK(values(q.seen()) == Numbers{3});
  }
}

TEST_CASE("call: in meta mode positions have a shape and nothing is read") {
  const MetaMode on;
  const Place p;
  CHECK(p.positions(2, 3).shape() == Shape{2, 3});
  p.call().advance(3);
}

TEST_CASE("call: a tap sees values under the name of their place, and may replace them") {
  const Tensor x = test::random({2, 3}, 1), other = test::random({2, 3}, 2);
  Site root;
  const Site &mixer = root.child("layers.3").child("mixer"), &inside = root.child("layers.4").child("part");
  Context cx;
  CHECK(Call(cx, mixer).tap("out", x).raw() == x.raw());
  std::string name;
  Taps taps = [&](std::string_view n, const Tensor&) { return name = n, other; };
  cx.taps = &taps;
  CHECK(Call(cx, mixer).tap("out", x).raw() == other.raw());
  CHECK(name == "layers.3.mixer.out");
  Call(cx, root["layers.4"]).child("part").tap("in", x);
  CHECK(name == "layers.4.part.in");
  taps = [&](std::string_view, const Tensor&) { return test::random({3, 2}, 1); };
  CHECK_THROWS_WITH_AS(Call(cx, inside).tap("out", x), doctest::Contains("layers.4.part.out"), ShapeError);
}

TEST_CASE("call: random numbers of a place depend on seed, place, purpose and step") {
  Site root;
  const Site &a = root.child("a"), &b = root.child("b");
  Context cx;
  cx.seed = 1, cx.step = 2, cx.samples = 3;
  const uint64_t first = Call(cx, a).random("dropout").bits(0);
  Context same = cx, step = cx, seed = cx;
  same.samples = 4;  // where the shard begins doesn't count
  step.step = 3;
  seed.seed = 2;
  CHECK(Call(same, a).random("dropout").bits(0) == first);
  CHECK(RandomStream(1, "a.dropout", 2).bits(0) == first);
  for (const Context& c : {step, seed}) CHECK(Call(c, a).random("dropout").bits(0) != first);
  CHECK(Call(cx, b).random("dropout").bits(0) != first);
  CHECK(Call(cx, a).random("other").bits(0) != first);
}
