#include "cores/common/flip_tokens.h"
#include "mixers/built_mixer.h"
#include "ops/arithmetic.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr int64_t kD = 16;

Tensor run_both(const BuiltMixer& m, const Tensor& x) {
  Context cx;
  cx.direction = Direction::bidirectional;
  return m.mixer->forward(x, cx);
}

}  // namespace

TEST_CASE("bidirectional: f(x) + flip(g(flip(x))), with weights of two or of one") {
  for (const char* of : {"{type: min_gru}", "{type: attention, heads: 2}", "{type: rg_lru}"})
    for (bool tie : {false, true}) {
      BuiltMixer m(std::string("{type: bidirectional, tie: ") + (tie ? "true" : "false") + ", of: " + of + "}", kD);
      m.shake(0.3);
      BuiltMixer f(of, kD), g(of, kD);
      for (const Parameter* p : f.store.sorted()) {
        copy(m["forward." + p->name].value, p->value);
        copy(m[(tie ? "forward." : "backward.") + p->name].value, g[p->name].value);
      }
      CHECK(m.store.count() == (tie ? 1 : 2) * f.store.count());
      const Tensor x = random({2, 7, kD}, 1);
      const Tensor expected = add(f.forward(x), flip_tokens(g.forward(flip_tokens(x))));
      CHECK(max_diff(run_both(m, x), expected) < 1e-13);
      Meter meter;
      run_both(m, x);
      CHECK(meter.total.dense_flops == 2 * f.forward_cost(x).dense_flops);
      CHECK(m.bytes(100) == 0);
    }
}

TEST_CASE("bidirectional: around every causal mixer, a turned text through turned branches is the result turned") {
  int found = 0;
  for (const LayerInfo* info : all_mixers) {
    if (!info->causal_form) continue;
    CAPTURE(std::string(info->name));
    ++found;
    ConfigNode of = parse_config(info->tiny, "tiny");
    of.set("type", info->name);
    const std::string yaml = "{type: bidirectional, of: " + to_flow_yaml(of) + "}";
    BuiltMixer m(yaml, 8), turned(yaml, 8), f(to_flow_yaml(of), 8), g(to_flow_yaml(of), 8);
    m.shake(0.3);
    for (const Parameter* p : m.store.sorted()) {
      const bool ahead = p->name.starts_with("forward."), back = p->name.starts_with("backward.");
      const std::string own = ahead ? p->name.substr(8) : back ? p->name.substr(9) : p->name;  // or one of all layers
      copy(p->value, turned[ahead ? "backward." + own : back ? "forward." + own : own].value);
      if (!back) copy(p->value, f[own].value);
      if (!ahead) copy(p->value, g[own].value);
    }
    const Tensor x = random({2, 14, 8}, 1), y = run_both(m, x);
    CHECK(max_diff(y, add(f.forward(x), flip_tokens(g.forward(flip_tokens(x))))) < 1e-12);
    CHECK(max_diff(run_both(turned, flip_tokens(x)), flip_tokens(y)) < 1e-12);
    CHECK(max_diff(y, f.forward(x)) > 1e-6);
  }
  CHECK(found > 20);
}

TEST_CASE("bidirectional: sites of the two directions differ, also where weights are tied") {
  const BuiltMixer m("{type: bidirectional, tie: true}", kD);
  std::vector<std::string> sites;
  const Taps taps = [&](std::string_view name, const Tensor& v) {
    sites.emplace_back(name);
    return v;
  };
  Context cx;
  cx.direction = Direction::bidirectional;
  Site root;
  const Site& site = root.child("layers.1").child("mixer", *m.mixer);
  cx.taps = &taps;
  m.mixer->forward(random({1, 3, kD}, 1), Call(cx, site));
  CHECK(sites ==
        std::vector<std::string>{"layers.1.mixer.forward.out", "layers.1.mixer.backward.out", "layers.1.mixer.out"});
}

TEST_CASE("bidirectional: has no causal form, no state, and takes none inside") {
  const BuiltMixer m("{type: bidirectional}", kD);
  CHECK(BuiltMixer("{type: bidirectional, of: gru}", kD).mixer->sequences_together() == 8);
  const Tensor x = random({1, 3, kD}, 1);
  CHECK_THROWS_WITH_AS(m.forward(x), doctest::Contains("no causal form"), ShapeError);
  State s = m.mixer->make_state(1, 4, DType::f64);
  Context cx;
  cx.state = &s;
  cx.direction = Direction::bidirectional;
  CHECK_THROWS_AS(m.mixer->forward(x, cx), ShapeError);
  CHECK_THROWS_WITH_AS(BuiltMixer("{type: bidirectional, of: bidirectional}", kD),
                       doctest::Contains("a mixer that has a causal form is needed here"), ConfigError);
  CHECK_FALSE(all_mixers.find("bidirectional").causal_form);
}
