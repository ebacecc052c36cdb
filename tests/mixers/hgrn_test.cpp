#include "mixers/built_mixer.h"
#include "model/language_model.h"
#include "support/models.h"

using namespace effllm;
using namespace effllm::test;

TEST_CASE("hgrn: init, parameters, state and cost are those of the formulas") {
  constexpr int64_t kD = 32, kW = 64, kT = 10;
  const BuiltMixer m("hgrn", "{expand: 2}", kD, 1, 3);
  for (const char* name : {"in.weight", "out.weight"}) m.check_deviation(name, 0.02, 0.1);
  CHECK(m.all("norm.weight", 1));
  m.check_free("hgrn_floor", 0);
  CHECK_FALSE(m["norm.weight"].traits.decay);
  CHECK(m.store.count() == 3 * kW * kD + kD * kW + kW + 3 * kW);
  for (int64_t n : {0, 1, 100}) CHECK(m.bytes(n) == 4 * kW);
  CHECK(m.forward_cost(random({1, kT, kD}, 1)).dense_flops == 2 * kT * (3 * kW * kD + kD * kW));
}

TEST_CASE("hgrn: layers share one floor, 0 in the first and growing with depth, those of hgrn2 another") {
  for (const auto& [kind, other, field] : {std::tuple{"hgrn", "hgrn2", "h"}, {"hgrn2", "hgrn", "s"}}) {
    CAPTURE(kind);
    const auto model = build_model(
        fmt::format("{{d_model: 8, layers: [{{mixer: {0}}}, {{mixer: {1}}}, {{mixer: {0}}}, {{mixer: {0}}}]}}", kind,
                    other),
        11);
    const Parameter* floor = model->params().find(std::string(kind) + "_floor");
    REQUIRE(floor);
    CHECK(floor->shape == Shape{3, 8});  // layers of this kind alone count
    CHECK(std::ranges::count_if(model->params().sorted(),
                                [](const Parameter* p) { return p->name.ends_with("_floor"); }) == 2);
    // Without input, f = lb + (1 - lb) / 2 and nothing comes in: the state decays by f.
    double before = 0;
    for (int64_t l : {0, 2, 3}) {
      const Site& mixer = model->layer_site(l)["mixer"];
      State s = model->make_state(1, 4);
      fill(s.field(mixer, field), 1);
      model->run(Tensor::zeros({1, 1, 8}, DType::f64), l, l + 1, {}, &s);
      const double decay = at(s.field(mixer, field), 0, 0), index = l == 0 ? 0.0 : static_cast<double>(l - 1);
      CHECK(decay == doctest::Approx(index / 3 + (1 - index / 3) / 2).epsilon(1e-13));
      CHECK(decay > before);
      before = decay;
    }
  }
}

TEST_CASE("hgrn: layers of unequal width can't share a floor, which is an error of the configuration") {
  CHECK_THROWS_WITH_AS(build_model("{d_model: 8, layers: [{mixer: hgrn}, {mixer: {type: hgrn, expand: 2}}]}", 11),
                       doctest::Contains("the same `expand`"), ConfigError);
}
