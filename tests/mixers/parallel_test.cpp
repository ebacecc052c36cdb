#include "mixers/built_mixer.h"
#include "ops/arithmetic.h"
#include "ops/norm.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr int64_t kD = 24;
constexpr std::string_view kYaml =
    "{type: parallel, branches: [{type: attention, heads: 2, window: 5}, {type: min_gru, expand: 2}, {type: parallel, "
    "branches: [gla, {type: mla, heads: 2}]}]}";

}  // namespace

TEST_CASE("parallel: the mean of normed branches, parameters, state and cost are the sum of theirs") {
  constexpr int64_t kT = 7;
  const BuiltMixer m(kYaml, kD), window("{type: attention, heads: 2, window: 5}", kD),
      gru("{type: min_gru, expand: 2}", kD), gla("{type: gla}", kD), mla("{type: mla, heads: 2}", kD);
  CHECK(m.store.count() ==
        window.store.count() + gru.store.count() + gla.store.count() + mla.store.count() + (3 + 2) * kD);
  for (int64_t n : {1, 5, 100}) CHECK(m.bytes(n) == window.bytes(n) + gru.bytes(n) + gla.bytes(n) + mla.bytes(n));
  const auto site = site_of(*m.mixer);
  std::vector<std::string> names;
  for (const StateField* f : site->all()) names.push_back(f->path);
  CHECK(names == std::vector<std::string>{"branches.0.k", "branches.0.v", "branches.1.h", "branches.2.branches.0.s",
                                          "branches.2.branches.1.latent", "seen"});
  CHECK(site->all()[0]->growth == Growth::window);
  CHECK(site->all()[4]->growth == Growth::per_token);
  const Tensor x = random({1, kT, kD}, 1);
  CHECK(m.forward_cost(x).dense_flops == window.forward_cost(x).dense_flops + gru.forward_cost(x).dense_flops +
                                             gla.forward_cost(x).dense_flops + mla.forward_cost(x).dense_flops);
  for (const char* name : {"norms.0.weight", "norms.2.weight", "branches.2.norms.1.weight"}) m.check_free(name, 1);
  m["branches.0.qkv.weight"];
  m["branches.2.branches.1.kv_up.weight"];
}

TEST_CASE("parallel: y is 1/n of the sum, each branch under its own norm") {
  BuiltMixer m("{type: parallel, branches: [{type: min_gru}, {type: hgrn}]}", kD);
  m.shake(0.3);
  BuiltMixer gru("{type: min_gru}", kD), hgrn("{type: hgrn}", kD);
  copy(m["branches.0.in.weight"].value, gru["in.weight"].value);
  copy(m["hgrn_floor"].value, hgrn["hgrn_floor"].value);
  for (const char* name : {"in.weight", "out.weight", "norm.weight"})
    copy(m["branches.1." + std::string(name)].value, hgrn[name].value);
  const Tensor x = random({2, 9, kD}, 1);
  const Tensor expected = scale(add(rms_norm(gru.forward(x), m["norms.0.weight"].value, 1e-6),
                                    rms_norm(hgrn.forward(x), m["norms.1.weight"].value, 1e-6)),
                                0.5);
  CHECK(max_diff(m.forward(x), expected) < 1e-14);
}

TEST_CASE("parallel: keeps together what one of its branches wants together") {
  const BuiltMixer lstm("lstm", kD), two("{type: parallel, branches: [gla, lstm]}", kD),
      both("{type: bidirectional, of: lstm}", kD);
  CHECK(lstm.mixer->sequences_together() > 1);
  CHECK(two.mixer->sequences_together() == lstm.mixer->sequences_together());
  CHECK(both.mixer->sequences_together() == lstm.mixer->sequences_together());
}

TEST_CASE("parallel: a branch without a causal form leaves none") {
  CHECK(has_causal_form(all_mixers.read(parse_config(kYaml, "t"))));
  const std::string both = "{type: parallel, branches: [{type: gla}, {type: bidirectional, of: gla}]}";
  CHECK_FALSE(has_causal_form(all_mixers.read(parse_config(both, "t"))));
  const BuiltMixer m(both, kD);
  const Tensor x = random({1, 6, kD}, 1);
  CHECK_THROWS_WITH_AS(m.forward(x), doctest::Contains("no causal form"), ShapeError);
  Context cx;
  cx.direction = Direction::bidirectional;
  CHECK(m.mixer->forward(x, cx).shape() == x.shape());
}
