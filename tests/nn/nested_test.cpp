#include "nn/nested.h"

#include <doctest/doctest.h>

#include "ops/arithmetic.h"
#include "support/tensors.h"

using namespace effllm;

namespace {

// Adds up what it has seen, in a field; taps what it gets.
class Sum final : public SequenceMixer {
 public:
  StateSpec state_spec(int64_t tokens) const override { return {{{"unused", {2}}, {"sum", {tokens, 3}}}}; }

 protected:
  Tensor mix(const Tensor& x, const Call& call) const override {
    call.write("sum", add(call.read("sum"), x));
    return scale(call.tap("in", x), 2);
  }
};

}  // namespace

TEST_CASE("nested: its fields are a part of the outer state, `seen` is counted outside, sites are its own") {
  const Nested n("branch", std::make_unique<Sum>());
  StateSpec spec{{{"other", {1}}}};
  n.append_fields(spec, 1);
  REQUIRE(spec.fields.size() == 3);
  CHECK(spec.fields[1].name == "branch.unused");
  CHECK(spec.fields[2].name == "branch.sum");
  CHECK(spec.fields[2].shape == Shape{1, 3});

  MixerState s = make_state(spec, 2, DType::f64);
  s.seen.data<int64_t>()[0] = 7;
  const Tensor x = test::random({2, 1, 3}, 1), other = s.field("other");
  std::vector<std::string> sites;
  const Taps taps = [&](std::string_view name, const Tensor& v) {
    sites.emplace_back(name);
    return v;
  };
  Context cx;
  cx.state = &s;
  cx.site = "layers.0.mixer";
  cx.taps = &taps;
  CHECK(test::max_diff(n.forward(x, cx), scale(x, 2)) == 0);
  CHECK(s.fields.size() == 3);
  CHECK(s.field("other").raw() == other.raw());
  CHECK(test::max_diff(s.field("branch.sum").reshape({2, 1, 3}), x) == 0);
  CHECK(s.seen.data<int64_t>()[0] == 7);
  CHECK(sites == std::vector<std::string>{"layers.0.mixer.branch.in", "layers.0.mixer.branch.out"});
}
