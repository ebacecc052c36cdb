// What a token adds to its own values: option value_embedding of attention.
#include "cores/common/flip_tokens.h"
#include "mixers/built_mixer.h"
#include "ops/arithmetic.h"
#include "support/models.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr int64_t kD = 16;

BuiltMixer with_table(const std::string& more = "") {
  return BuiltMixer("{type: attention, heads: 4, kv_heads: 2, value_embedding: 5" + more + "}", kD,
                    {.d_model = kD, .layer = 0, .layers = 2, .max_tokens = 64, .ids = 40});
}
struct Without : BuiltMixer {
  explicit Without(const BuiltMixer& m) : BuiltMixer("{type: attention, heads: 4, kv_heads: 2}", kD) {
    for (const Parameter* p : store.sorted()) copy(m[p->name].value, p->value);
  }
};

}  // namespace

TEST_CASE("value_embedding: starts as in nanochat, a vector for each id, of which a token has one") {
  const BuiltMixer m = with_table();
  CHECK(m["value_embedding.weight"].shape == Shape{40, 8});
  CHECK(m["value_gate.weight"].shape == Shape{2, 5});
  m.check_uniform("value_embedding.weight", std::sqrt(3.0 / 16));
  CHECK(m.least("value_gate.weight") >= 0);
  CHECK(m.most("value_gate.weight") <= 0.02);
  CHECK(m.most("value_gate.weight") > 0.012);
  CHECK(m["value_embedding.weight"].traits.active == 1.0 / 40);
  CHECK(m["value_embedding.weight"].traits.matrices.empty());
  CHECK(m["value_gate.weight"].traits.matrices == std::vector<int64_t>{2});
  CHECK_THROWS_WITH_AS(BuiltMixer("{type: attention, value_embedding: 17}", kD),
                       doctest::Contains("value_embedding reads 17 columns of 16"), ConfigError);
}

TEST_CASE("value_embedding: with vectors of zeros, or a closed gate, attention is what it is without") {
  BuiltMixer m = with_table();
  m.shake(0.3);
  const Tensor x = mapped(random({2, 9, kD}, 1), [](double v) { return std::abs(v) + 0.1; });
  const Without plain(m);
  const Tensor want = plain.forward(x);
  CHECK(max_diff(m.forward(x), want) > 0.01);
  fill(m["value_gate.weight"].value, -1e4);
  CHECK(same_bits(m.forward(x), want));
  fill(m["value_gate.weight"].value, 0.5);
  fill(m["value_embedding.weight"].value, 0);
  CHECK(same_bits(m.forward(x), want));
}

TEST_CASE("value_embedding: the gate is three sigmoids of the first columns, one for each head of values") {
  BuiltMixer m("{type: attention, heads: 2, position: none, value_embedding: 2}", 8,
               {.d_model = 8, .layer = 0, .layers = 2, .max_tokens = 64, .ids = 40});
  fill(m["qkv.weight"].value, 0);  // each token sees the mean of what tokens add
  fill(m["out.weight"].value, 0);
  for (int64_t c = 0; c < 8; ++c) put(m["out.weight"].value, c, c, 1);
  fill(m["value_gate.weight"].value, 0);
  put(m["value_gate.weight"].value, 0, 0, 1);
  put(m["value_gate.weight"].value, 1, 1, 1);
  const Tensor x = random({1, 1, 8}, 3), y = m.forward(x);
  const int32_t id = ids_of(x).data<int32_t>()[0];
  for (int64_t c = 0; c < 8; ++c)
    CHECK(at(y, 0, c) ==
          doctest::Approx(3 / (1 + std::exp(-at(x, 0, c / 4))) * at(m["value_embedding.weight"].value, id, c)));
}

TEST_CASE("value_embedding: backwards, the ids are backwards too") {
  BuiltMixer m("{type: bidirectional, tie: true, of: {type: attention, heads: 2, value_embedding: 4}}", kD);
  m.shake(0.3);
  const Tensor x = random({2, 7, kD}, 1);
  const auto run = [&](const Tensor& in) {
    Context cx;
    cx.direction = Direction::bidirectional;
    cx.ids = ids_of(in);
    return m.mixer->forward(in, cx);
  };
  CHECK(max_diff(flip_tokens(run(flip_tokens(x))), run(x)) < 1e-13);
}

TEST_CASE("value_embedding: a model tells it the ids, and all of them have a vector") {
  const auto model = build_model(
      "{d_model: 8, layers: [{mixer: {type: attention, heads: 2, value_embedding: 8}}, {mixer: min_gru}]}", 13);
  CHECK(model->params().find("layers.0.mixer.value_embedding.weight")->shape == Shape{13, 8});
  const Tensor ids = random_ids(1, 6, 13, 1);
  const Tensor whole = model->logits(ids, {});
  State s = model->make_state(1, 6);
  for (int64_t t = 0; t < 6; ++t) {
    const Tensor one = Tensor::dense({1, 1}, DType::i32);
    one.data<int32_t>()[0] = ids.data<int32_t>()[t];
    CHECK(max_diff(model->logits(one, {}, &s), tokens(whole, t, t + 1)) < 1e-12);
  }
}
