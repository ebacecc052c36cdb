#include "nn/call.h"

#include <doctest/doctest.h>

#include "base/error.h"
#include "support/tensors.h"

using namespace effllm;

namespace {

const StateSpec kSpec{{{"h", {3}}, {"hh", {2}}, {"part.h", {1}}, {"part.inner.h", {4}}}};

}  // namespace

TEST_CASE("call: fields are read and replaced by name, whatever their order") {
  MixerState state = make_state(kSpec, 2, DType::f64);
  Context cx;
  cx.state = &state;
  const Call call(cx);
  CHECK(call.has_state());
  CHECK(call.read("h").shape() == Shape{2, 3});
  CHECK(call.read("hh").shape() == Shape{2, 2});
  const Tensor value = test::random({2, 2}, 1);
  call.write("hh", value);
  CHECK(call.read("hh").raw() == value.raw());
  CHECK(state.field("hh").raw() == value.raw());
  CHECK(test::max_abs(state.field("h")) == 0);
}

TEST_CASE("call: a name that the state does not have is an error that lists those it has") {
  MixerState state = make_state(kSpec, 2, DType::f64);
  Context cx;
  cx.state = &state;
  const Call call(cx);
  for (const char* wrong : {"x", "", "h.", "part", "part."}) {
    CAPTURE(wrong);
    CHECK_THROWS_WITH_AS(call.read(wrong), doctest::Contains("h, hh, part.h, part.inner.h"), Error);
    CHECK_THROWS_WITH_AS(call.write(wrong, Tensor()), doctest::Contains(wrong), Error);
  }
  CHECK_THROWS_WITH_AS(call.child("part").read("hh"), doctest::Contains("`part.hh`"), Error);
  MixerState none = make_state({}, 2, DType::f64);
  cx.state = &none;
  CHECK_THROWS_WITH_AS(Call(cx).read("h"), doctest::Contains("a state of []"), Error);
}

TEST_CASE("call: without a state nothing is read, kept or counted") {
  const Call call;
  CHECK_FALSE(call.has_state());
  CHECK_FALSE(call.read("h").defined());
  CHECK_FALSE(call.seen().defined());
  CHECK_FALSE(call.seen_after(3).defined());
  CHECK_FALSE(call.segments().defined());
  call.write("h", test::random({2, 3}, 1));
  call.advance(3);
}

TEST_CASE("call: tokens are counted by the outermost call alone") {
  MixerState state = make_state(kSpec, 2, DType::f64);
  state.seen.data<int64_t>()[1] = 10;
  const Tensor segments = Tensor::zeros({2, 3}, DType::i64);
  for (int64_t t = 1; t < 3; ++t) segments.data<int64_t>()[t] = 1;  // the first sequence's second token starts one
  Context cx;
  cx.state = &state;
  cx.segments = &segments;
  const Call call(cx);
  CHECK(call.segments().raw() == segments.raw());
  call.child("part").advance(3);
  CHECK(call.seen().data<int64_t>()[0] == 0);
  CHECK(call.seen().data<int64_t>()[1] == 10);
  const Tensor after = call.seen_after(3);
  CHECK(after.data<int64_t>()[0] == 2);
  CHECK(after.data<int64_t>()[1] == 13);
  CHECK(call.seen().data<int64_t>()[1] == 10);
  call.advance(3);
  CHECK(state.seen.data<int64_t>()[0] == 2);
  CHECK(state.seen.data<int64_t>()[1] == 13);
}

TEST_CASE("call: one inside another has its fields, its site and its random numbers") {
  MixerState state = make_state(kSpec, 2, DType::f64);
  Context cx;
  cx.state = &state;
  cx.site = "layers.0.mixer";
  std::string tapped;
  const Taps taps = [&](std::string_view name, const Tensor& v) { return tapped = name, v; };
  cx.taps = &taps;
  const Call call(cx), part = call.child("part"), inner = part.child("inner");
  CHECK(part.read("h").shape() == Shape{2, 1});
  CHECK(inner.read("h").shape() == Shape{2, 4});
  const Tensor x = test::random({2, 1}, 1);
  part.write("h", x);
  CHECK(state.field("part.h").raw() == x.raw());
  part.tap("in", x);
  CHECK(tapped == "layers.0.mixer.part.in");
  inner.tap("in", x);
  CHECK(tapped == "layers.0.mixer.part.inner.in");
  Context same;
  same.site = "layers.0.mixer.part.inner";
  CHECK(inner.random("dropout").bits(0) == random_at(same, "dropout").bits(0));
  CHECK(inner.random("dropout").bits(0) != part.random("dropout").bits(0));
}
