#include <cmath>

#include "mixers/built_mixer.h"
#include "support/models.h"

using namespace effllm;
using namespace effllm::test;

TEST_CASE("hgrn2: init, parameters, state and cost are those of the formulas") {
  constexpr int64_t kD = 64, kN = 16, kT = 10;
  for (int64_t layers : {1, 3}) {
    const BuiltMixer m("hgrn2", "{head_dim: 16}", kD, layers - 1, layers);
    for (const char* name : {"in.weight", "out.weight"})
      CHECK(m.deviation(name) == doctest::Approx(0.02).epsilon(0.05));
    CHECK(m.all("hgrn2_floor", 0));
    CHECK(m.undecayed() == std::vector<std::string>{"hgrn2_floor"});
    CHECK(m.store.count() == 4 * kD * kD + layers * kD);
    for (int64_t n : {1, 100, 100000}) CHECK(site_of(*m.mixer)->bytes(n, DType::f32) == 4 * kD * kN);
    CHECK(m.forward_cost(random({1, kT, kD}, 1)).dense_flops == 2 * kT * 4 * kD * kD);
  }
  CHECK((*site_of(*BuiltMixer("hgrn2", "{}", 256).mixer))("s").shape == Shape{2, 128, 128});
  CHECK((*site_of(*BuiltMixer("hgrn2", "{}", 32).mixer))("s").shape == Shape{1, 32, 32});
  CHECK_THROWS_WITH_AS(BuiltMixer("hgrn2", "{head_dim: 7}", 32), doctest::Contains("head_dim 7"), ConfigError);
  CHECK_THROWS_WITH_AS(BuiltMixer("hgrn2", "{}", 192), doctest::Contains("head_dim 128"), ConfigError);
}

TEST_CASE("hgrn2: layers share one floor, 0 in the first and growing with depth") {
  const auto model =
      build_model("{d_model: 8, layers: [{mixer: hgrn2}, {mixer: hgrn}, {mixer: hgrn2}, {mixer: hgrn2}]}", 11);
  REQUIRE(model->params().find("hgrn2_floor"));
  CHECK(model->params().find("hgrn2_floor")->shape == Shape{3, 8});  // HGRN2 layers alone count
  double before = 0;
  for (int64_t l : {0, 2, 3}) {  // without input f = lb + (1 - lb) / 2, and nothing comes in
    const Site& mixer = model->layer_site(l)["mixer"];
    State s = model->make_state(1, 4);
    fill(s.field(mixer, "s"), 1);
    model->run(Tensor::zeros({1, 1, 8}, DType::f64), l, l + 1, {}, &s);
    const double decay = at(s.field(mixer, "s"), 0, 0), index = l == 0 ? 0.0 : static_cast<double>(l - 1);
    CHECK(decay == doctest::Approx(index / 3 + (1 - index / 3) / 2).epsilon(1e-13));
    CHECK(decay > before);
    before = decay;
  }
}

TEST_CASE("hgrn2: a head of width one is HGRN's recurrence with silu as a factor behind it") {
  // The same gates and inputs: S is one number a column. HGRN has silu on its input, HGRN2 on its output.
  const BuiltMixer m("hgrn2", "{head_dim: 1}", 8, 1, 3);
  const Tensor x = random({1, 6, 8}, 2), y = m.mixer->forward(x, {}), &w = m["in.weight"].value;
  const auto product = [&](int64_t row, int64_t t) {
    double sum = 0;
    for (int64_t c = 0; c < 8; ++c) sum += at(w, row, c) * at(x, t, c);
    return sum;
  };
  double h[8] = {};
  for (int64_t t = 0; t < 6; ++t) {
    double read[8], squares = 0;
    for (int64_t c = 0; c < 8; ++c) {
      const double f = 1.0 / 3 + 2.0 / 3 / (1 + std::exp(-product(8 + c, t))), o = product(16 + c, t);
      h[c] = f * h[c] + (1 - f) * product(c, t);
      read[c] = h[c] * o / (1 + std::exp(-o));
      squares += read[c] * read[c];
    }
    const double rms = std::sqrt(squares / 8 + 1e-6);
    for (int64_t r = 0; r < 8; ++r) {
      double want = 0;
      for (int64_t c = 0; c < 8; ++c) want += at(m["out.weight"].value, r, c) * read[c] / rms;
      CHECK(at(y, t, r) == doctest::Approx(want).epsilon(1e-10));
    }
  }
}

TEST_CASE("hgrn2: gates that are shut or open for good leave no infinities behind, in either precision") {
  for (const DType type : {DType::f32, DType::f64})
    for (int64_t layer : {0, 2}) {
      ParamStore store;
      const auto m = all_mixers.read(parse_config("{type: hgrn2, head_dim: 4}", "test"))
                         .build({.d_model = 8,
                                 .layer = layer,
                                 .layers = 3,
                                 .max_tokens = 8,
                                 .index_of_kind = layer,
                                 .layers_of_kind = 3},
                                Scope(store));
      store.materialize(1, type);
      const Tensor& w = store.find("in.weight")->value;
      for (int64_t r = 8; r < 16; ++r)
        for (int64_t c = 0; c < 8; ++c) put(w, r, c, r % 2 ? 300 : -300);
      Slab slab(store.slab_elements(), type);
      ParamGrads grads = store.gradients(slab);
      ParamGrads::current = &grads;
      Tape tape;
      const Tensor x = tape.leaf(Tensor::full({1, 6, 8}, type, 1));
      {
        const Tape::Recording recording(tape);
        const Tensor y = m->forward(x, {});
        CHECK(std::isfinite(max_abs(y)));
        tape.backward(y, random(y.shape(), 3, type));
      }
      ParamGrads::current = nullptr;
      grads.zero_unwritten();
      CHECK(std::isfinite(max_abs(tape.grad(x))));
      for (const Tensor& g : grads.views) CHECK(std::isfinite(dot(g, g)));
    }
}
