#include "mixers/built_mixer.h"

using namespace effllm;
using namespace effllm::test;

TEST_CASE("hgrn2: init, parameters, state and cost are those of the formulas") {
  constexpr int64_t kD = 64, kN = 16, kT = 10;
  for (int64_t layers : {1, 3}) {
    const BuiltMixer m("hgrn2", "{head_dim: 16}", kD, layers - 1, layers);
    for (const char* name : {"in.weight", "out.weight"}) m.check_deviation(name, 0.02, 0.05);
    CHECK(m.all("hgrn2_floor", 0));
    CHECK(m.undecayed() == std::vector<std::string>{"hgrn2_floor"});
    CHECK(m.store.count() == 4 * kD * kD + layers * kD);
    for (int64_t n : {1, 100, 100000}) CHECK(m.bytes(n) == 4 * kD * kN);
    CHECK(m.forward_cost(random({1, kT, kD}, 1)).dense_flops == 2 * kT * 4 * kD * kD);
  }
  CHECK((*site_of(*BuiltMixer("hgrn2", "{}", 256).mixer))("s").shape == Shape{2, 128, 128});
  CHECK((*site_of(*BuiltMixer("hgrn2", "{}", 32).mixer))("s").shape == Shape{1, 32, 32});
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
      const Tape::Recording recording(tape);
      const Tensor y = m->forward(x, {});
      CHECK(std::isfinite(max_abs(y)));
      tape.backward(y, random(y.shape(), 3, type));
      ParamGrads::current = nullptr;
      grads.zero_unwritten();
      CHECK(std::isfinite(max_abs(tape.grad(x))));
      for (const Tensor& g : grads.views) CHECK(std::isfinite(dot(g, g)));
    }
}
