// Experts of one neuron: how they start, what they cost, who learns, and what equal ones come to.
#include <doctest/doctest.h>

#include <cmath>

#include "ffn/ffn.h"
#include "mixers/built_mixer.h"
#include "support/trained_layer.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr int64_t kWidth = 12;
BuiltMixer built(std::string_view options) { return {all_ffns.find("peer"), options, kWidth}; }

}  // namespace

TEST_CASE("peer: heads of equal experts add up to so many of one neuron") {
  const BuiltMixer m = built("{keys: 3, heads: 4, top_k: 2, key_dim: 4, activation: relu}");
  const Tensor x = random({2, 5, kWidth}, 1), u = random({kWidth}, 2), v = random({kWidth}, 3);
  for (int64_t e = 0; e < 9; ++e) {
    copy(u.reshape({1, kWidth}), m["experts.up.weight"].value.row_range(e, {1, kWidth}));
    copy(v.reshape({1, kWidth}), m["experts.down.weight"].value.row_range(e, {1, kWidth}));
  }
  const Tensor y = m.forward(x);
  for (int64_t r = 0; r < x.rows(); ++r) {
    double inner = 0;
    for (int64_t c = 0; c < kWidth; ++c) inner += at(u, 0, c) * at(x, r, c);
    for (int64_t c = 0; c < kWidth; ++c) CHECK(std::abs(at(y, r, c) - 4 * std::max(inner, 0.0) * at(v, 0, c)) < 1e-13);
  }
}

TEST_CASE("peer: experts that no token chose learn nothing, and the journal says how many were") {
  const BuiltMixer m = built("{keys: 8, heads: 1, top_k: 2, key_dim: 4, activation: gelu}");
  const Tensor x = random({1, 3, kWidth}, 1);
  Slab slab(m.store.slab_elements(), DType::f64);
  ParamGrads grads = m.store.gradients(slab);
  ParamGrads::current = &grads;
  TrainedLayer s{{}, Ledger(3, 3)};
  {
    Tape tape;
    const Tape::Recording recording(tape);
    s = train(m, tape.leaf(x));
    tape.backward(s.y, random(x.shape(), 2));
  }
  ParamGrads::current = nullptr;
  for (const char* table : {"experts.up.weight", "experts.down.weight"})
    for (size_t i = 0; i < m.store.sorted().size(); ++i) {
      if (m.store.sorted()[i]->name != table) continue;
      int64_t learned = 0;
      for (int64_t e = 0; e < 64; ++e) learned += max_abs(grads.views[i].row_range(e, {1, kWidth})) > 0;
      CHECK(static_cast<double>(learned) == 64 * s["used"]);
      CHECK(learned >= 2);
      CHECK(learned <= 6);
    }
  CHECK(s["max_load"] >= 64.0 / 6);
}

TEST_CASE("peer: how it starts, what it has and what a token costs") {
  const BuiltMixer m = built("{keys: 16, heads: 2, top_k: 4, key_dim: 8, query_norm: layer_norm}");
  m.check_uniform("keys.weight", 0.5);
  m.check_uniform("query.weight", 1 / std::sqrt(12.0));
  m.check_deviation("experts.up.weight", 0.02, 0.05);
  m.check_deviation("experts.down.weight", 0.02, 0.05);
  m.check_free("query_norm.weight", 1);
  m.check_free("query_norm.bias", 0);
  CHECK(m.store.count() == 16 * kWidth + 2 * 16 * 4 + 2 * 16 + 2 * 256 * kWidth);
  CHECK(m.store.active() == 16 * kWidth + 2 * 16 * 4 + 2 * 16 + 2 * 8 * kWidth);
  const double tokens = 10;
  CHECK(m.forward_cost(random({2, 5, kWidth}, 1)).dense_flops ==
        2 * tokens * (16 * kWidth + 2 * 2 * 16 * 4 + 2 * 8 * kWidth));
  CHECK(m["experts.down.weight"].traits.role == Role::residual);
}

TEST_CASE("peer: what does not fit together is told at once") {
  CHECK_THROWS_WITH_AS(built("{keys: 2, top_k: 5, key_dim: 5}"), doctest::Contains("top_k is 5, but there are 4"),
                       ConfigError);
  CHECK_THROWS_WITH_AS(built("{keys: 2, top_k: 5, key_dim: 5}"), doctest::Contains("a query has two halves"),
                       ConfigError);
}
