// What Mixture-of-Depths is equal to, and what its causal choice learns.
#include <doctest/doctest.h>

#include "base/hash.h"
#include "blocks/block.h"
#include "mixers/built_mixer.h"
#include "nn/ledger.h"
#include "ops/arithmetic.h"
#include "support/models.h"
#include "verify/verify.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr int64_t kWidth = 12, kTokens = 9;
const std::string kInside = "mixer: {type: attention, heads: 2}, ffn: {type: mlp, expand: 2}";

struct Block : BuiltMixer {
  Block(std::string_view type, const std::string& options)
      : BuiltMixer(all_blocks.find(type), "{" + options + kInside + "}", kWidth) {
    shake(0.3);
  }
  // The router's r is x_0, and a predictor says yes where x_1 > 0.
  void route() const {
    fill((*this)["router.weight"].value, 0);
    put((*this)["router.weight"].value, 0, 0, 1);
    if (!store.find("predictor.up.weight")) return;
    for (const char* name : {"up.weight", "up.bias", "down.weight", "down.bias"})
      fill((*this)["predictor." + std::string(name)].value, 0);
    put((*this)["predictor.up.weight"].value, 0, 1, 20);  // silu(20 x) - silu(-20 x) = 20 x
    put((*this)["predictor.up.weight"].value, 1, 1, -20);
    put((*this)["predictor.down.weight"].value, 0, 0, 1);
    put((*this)["predictor.down.weight"].value, 0, 1, -1);
  }
  Tensor run(const Tensor& x, Phase phase, Ledger* ledger = nullptr) const {
    Context cx;
    cx.phase = phase;
    cx.ledger = ledger;
    return mixer->forward(x, cx);
  }
};

Tensor with_column(Tensor x, int64_t column, double value) {
  for (int64_t r = 0; r < x.rows(); ++r) put(x, r, column, value);
  return x;
}
double row(const Ledger& ledger, std::string_view name) {
  for (const Measured& m : ledger.rows())
    if (m.name == name) return m.value;
  FAIL("no row " << name);
  return 0;
}
// Tokens of y that differ from x.
int64_t changed(const Tensor& x, const Tensor& y) {
  int64_t n = 0;
  for (int64_t r = 0; r < x.rows(); ++r) n += max_diff(x.row_range(r, {1, kWidth}), y.row_range(r, {1, kWidth})) > 0;
  return n;
}

}  // namespace

TEST_CASE("mod: with all tokens and r = 1 it is the dense block to the bit, with none it is not there") {
  const Tensor x = with_column(with_column(random({2, kTokens, kWidth}, 1), 0, 1), 1, 1);
  const Block all("mod", "capacity: 1, "), none("mod", "capacity: 0, "), dense("residual", "");
  all.route();
  none.route();
  for (const Parameter* p : dense.store.sorted()) CHECK(same_bits(p->value, all[p->name].value));  // noise goes by name
  const Tensor y = dense.forward(x);
  CHECK(same_bits(all.run(x, Phase::train), y));
  CHECK(same_bits(all.run(x, Phase::infer), y));
  CHECK(same_bits(none.run(x, Phase::train), x));
  CHECK(same_bits(none.run(with_column(x, 1, -1), Phase::infer), with_column(x, 1, -1)));
}

TEST_CASE("mod: a capacity of 1 or 0 takes all tokens or none in both phases, whatever r says, and asks nobody") {
  const Tensor x = with_column(random({2, kTokens, kWidth}, 1), 0, 1);
  const Block all("mod", "capacity: 1, "), none("mod", "capacity: 0, "),
      random_all("mod", "capacity: 1, router: random, ");
  for (const Block* m : {&all, &none}) {
    m->route();
    put((*m)["router.weight"].value, 0, 0, -1);  // r = -1
    CHECK(m->store.find("predictor.up.weight") == nullptr);
    CHECK_FALSE(m->mixer->trains_otherwise());
    Ledger ledger(0, x.rows());
    m->run(x, Phase::train, &ledger);
    std::vector<std::string> rows;
    for (const Measured& one : ledger.rows()) rows.push_back(one.name);
    CHECK(rows == std::vector<std::string>{"router_mean", "router_positive"});
  }
  CHECK(changed(x, all.run(x, Phase::train)) == 2 * kTokens);
  CHECK(same_bits(all.run(x, Phase::infer), all.run(x, Phase::train)));
  CHECK(same_bits(none.run(x, Phase::infer), x));
  CHECK(changed(x, random_all.run(x, Phase::infer)) == 2 * kTokens);
  for (const char* idle : {"causal: aux", "causal_weight: 0.1", "predictor_width: 4"})
    for (const char* capacity : {"capacity: 1, ", "capacity: 0, "})
      CHECK_THROWS_WITH_AS(Block("mod", std::string(capacity) + idle + ", "), doctest::Contains("asks nobody"),
                           ConfigError);
}

TEST_CASE(
    "mod: a model of blocks that all tokens take with r = 1 is the dense one, of blocks that none takes it is "
    "without") {
  // The first number of each token's features is 1, and nothing adds to it.
  const auto of_ones = [](const std::string& layers) {
    auto model = build_model("{d_model: 12, init: {std: 0.3}, layers: [" + layers + "]}", 13, 32);
    for (const Parameter* p : model->params().sorted()) {
      const size_t part = std::min(p->name.find("mixer."), p->name.find("ffn."));  // alike in all layers
      const Tensor noise = random(p->shape, fnv1a(p->name.substr(part == p->name.npos ? 0 : part)));
      if (p->name.find("norm") == p->name.npos) copy(scale(noise, 0.3), p->value);
      if (p->name.ends_with("out.weight") || p->name.ends_with("down.weight"))
        for (int64_t c = 0; c < p->value.cols(); ++c) put(p->value, 0, c, 0);
      if (p->name == "embedding.weight")
        for (int64_t r = 0; r < 13; ++r) put(p->value, r, 0, 1);
      if (!p->name.ends_with("router.weight")) continue;
      fill(p->value, 0);
      put(p->value, 0, 0, 1);
    }
    return model;
  };
  const std::string mod = "{type: mod, " + kInside + ", capacity: ", dense = "{" + kInside + "}";
  const auto same = [](const LanguageModel& a, const LanguageModel& b) {
    const Tensor ids = random_ids(2, 11, 13, 3), targets = random_ids(2, 11, 13, 4);
    for (const Phase phase : {Phase::train, Phase::infer}) {
      Context cx;
      cx.phase = phase;
      CHECK(same_bits(a.logits(ids, cx), b.logits(ids, cx)));
      CHECK(same_bits(a.loss(ids, targets, 0.1, cx), b.loss(ids, targets, 0.1, cx)));
    }
    State of_a = a.make_state(2, 11), of_b = b.make_state(2, 11);
    for (int64_t t = 0; t < 11; ++t) {
      const Tensor one = Tensor::dense({2, 1}, DType::i32);
      for (int64_t row = 0; row < 2; ++row) one.data<int32_t>()[row] = ids.view<int32_t>().row(row)[t];
      CHECK(same_bits(a.logits(one, {}, &of_a), b.logits(one, {}, &of_b)));
    }
  };
  const auto plain = of_ones(dense + ", " + dense);
  same(*of_ones(mod + "1}, " + mod + "1}"), *plain);
  same(*of_ones(dense + ", " + mod + "0}, " + dense), *plain);
}

TEST_CASE("mod: training takes exactly k tokens of each sequence, the causal choice those that it says yes to") {
  const Tensor x = random({3, kTokens, kWidth}, 1);
  for (const char* causal : {"predictor", "aux"}) {
    const Block m("mod", std::string("capacity: 0.5, causal: ") + causal + ", ");
    m.route();
    const Tensor y = m.run(x, Phase::train), z = m.run(x, Phase::infer);
    for (int64_t b = 0; b < 3; ++b)
      CHECK(changed(x.row_range(b * kTokens, {kTokens, kWidth}), y.row_range(b * kTokens, {kTokens, kWidth})) == 5);
    const int64_t by = causal[0] == 'p' ? 1 : 0;
    for (int64_t r = 0; r < x.rows(); ++r)
      CHECK((max_diff(x.row_range(r, {1, kWidth}), z.row_range(r, {1, kWidth})) > 0) == (at(x, r, by) > 0));
  }
  const Tensor equal = with_column(x, 0, 2);  // ties
  const Block m("mod", "capacity: 0.5, ");
  m.route();
  CHECK(changed(equal, m.run(equal, Phase::train)) == 15);
}

TEST_CASE("mod: what it adds is weighed by r, both parts of it, and by nothing where numbers are drawn") {
  const Tensor x = random({1, kTokens, kWidth}, 1);
  const Block half("mod", "capacity: 1, "), whole("mod", "capacity: 1, ");
  half.route();
  whole.route();
  put(half["router.weight"].value, 0, 0, 0.5);
  const Tensor a = half.run(x, Phase::train), b = whole.run(x, Phase::train);
  CHECK(max_diff(add(a, scale(x, -1)), scale(add(b, scale(x, -1)), 0.5)) < 1e-14);
  const Block drawn("mod", "router: random, capacity: 1, "), dense("residual", "");
  CHECK(same_bits(drawn.run(x, Phase::train), dense.forward(x)));
  const Block some("mod", "router: random, capacity: 0.5, ");
  CHECK(changed(x, some.run(x, Phase::train)) == 5);
  const auto taken = [&](int64_t step, int64_t sample) {
    Context cx;
    cx.phase = Phase::train;
    cx.step = step;
    cx.samples = sample;
    return some.mixer->forward(x, cx);
  };
  CHECK(same_bits(taken(3, 4), taken(3, 4)));
  CHECK_FALSE(same_bits(taken(3, 4), taken(5, 4)));
  CHECK_FALSE(same_bits(taken(3, 4), taken(3, 5)));
}

TEST_CASE("mod: how well the causal choice follows training's is counted, and its loss moves the predictor alone") {
  const Tensor x = random({2, kTokens, kWidth}, 1);
  for (const bool predictor : {true, false}) {
    const Block m("mod",
                  std::string("capacity: 0.5, causal_weight: 1, causal: ") + (predictor ? "predictor, " : "aux, "));
    m.route();
    Ledger ledger(0, x.rows());
    Tape tape;
    const Tensor leaf = tape.leaf(x);
    const Slab slab(m.store.slab_elements(), DType::f64);
    ParamGrads grads = m.store.gradients(slab);
    ParamGrads::current = &grads;
    Tensor y;
    {
      const Tape::Recording recording(tape);
      y = m.run(leaf, Phase::train, &ledger);
    }
    tape.backward(y, Tensor::zeros(y.shape(), DType::f64));  // of the loss of the choice alone
    ParamGrads::current = nullptr;
    grads.zero_unwritten();
    double agree = 0, mean = 0, positive = 0;
    for (int64_t b = 0; b < 2; ++b)
      for (int64_t t = 0; t < kTokens; ++t) {
        const int64_t r = b * kTokens + t;
        int64_t larger = 0;
        for (int64_t u = 0; u < kTokens; ++u) larger += at(x, b * kTokens + u, 0) > at(x, r, 0);
        agree += (larger < 5) == (at(x, r, predictor ? 1 : 0) > 0);
        mean += at(x, r, 0);
        positive += at(x, r, 0) > 0;
      }
    CHECK(row(ledger, "agreement") == doctest::Approx(agree / 18).epsilon(1e-12));
    CHECK(row(ledger, "router_mean") == doctest::Approx(mean / 18).epsilon(1e-12));
    CHECK(row(ledger, "router_positive") == doctest::Approx(positive / 18).epsilon(1e-12));
    CHECK(row(ledger, "causal_loss") > 0);
    const auto& parameters = m.store.sorted();
    for (size_t i = 0; i < parameters.size(); ++i) {
      CAPTURE(parameters[i]->name);
      const bool taught = parameters[i]->name.starts_with(predictor ? "predictor." : "router.");
      CHECK((max_abs(grads.views[i]) > 0) == taught);
    }
    CHECK((max_abs(tape.grad(leaf)) > 0) == !predictor);
  }
}

TEST_CASE("mod: losses and means of what is inside are of the tokens that are chosen") {
  BuiltMixer m(all_blocks.find("mod"),
               "{capacity: 0.25, mixer: min_gru, ffn: {type: moe, experts: 4, balance_tokens: shard, router_z: 1}}",
               kWidth);
  fill(m["ffn.router.weight"].value, 0);
  Ledger ledger(0, 2 * 8);
  Context cx;
  cx.phase = Phase::train;
  cx.ledger = &ledger;
  m.mixer->forward(random({2, 8, kWidth}, 1), cx);
  const double even = std::log(4.0);
  CHECK(row(ledger, "chosen.ffn.balance") == doctest::Approx(1).epsilon(1e-12));
  CHECK(row(ledger, "chosen.ffn.router_entropy") == doctest::Approx(even).epsilon(1e-12));
  CHECK(row(ledger, "chosen.ffn.router_z") == doctest::Approx(even * even).epsilon(1e-12));
}

TEST_CASE("mod: choices made inside are those of the tokens that make them, however a text is cut") {
  const auto model = build_model(
      "{d_model: 8, init: {std: 0.4}, layers: [{type: mod, capacity: 0.5, mixer: {type: moba, heads: 2, block: 2, "
      "top_k: "
      "2}, ffn: {type: moe, experts: 3}}]}",
      13, 32);
  for (const Finding& f : verify(*model, random_ids(2, 25, 13, 3), {}))
    CHECK_MESSAGE(f.passed, f.check << " " << f.where);
}

TEST_CASE("mod: a capacity that is no binary fraction takes the tokens that it says") {
  const Tensor x = random({1, 100, kWidth}, 1);
  const Block m("mod", "capacity: 0.07, ");
  m.route();
  CHECK(changed(x, m.run(x, Phase::train)) == 7);
}

TEST_CASE("mod: what chooses nothing is no option") {
  const auto built = [](const std::string& options) {
    return BuiltMixer(all_blocks.find("mod"), "{mixer: min_gru, ffn: none, " + options + "}", 8);
  };
  for (const char* idle : {"weight: sigmoid", "causal: aux", "causal_weight: 0.1"})
    CHECK_THROWS_WITH_AS(built("router: random, " + std::string(idle)),
                         doctest::Contains("random numbers multiply nothing"), ConfigError);
  for (const char* idle : {"router: random", "causal: aux"})
    CHECK_THROWS_WITH_AS(built(std::string(idle) + ", predictor_width: 4"),
                         doctest::Contains("predictor_width does nothing without"), ConfigError);
}

TEST_CASE("mod and mor: of what some tokens go through as much is active as there are of them") {
  const std::string inside = "mixer: min_gru, ffn: mlp}";
  const auto count = [&](std::string_view type, const std::string& options) {
    const BuiltMixer m(all_blocks.find(type), "{" + options + inside, 8);
    return std::pair{m.store.count(), m.store.active()};
  };
  const auto [all, all_active] = count("residual", "");
  CHECK(all_active == all);
  const auto [mod, mod_active] = count("mod", "capacity: 0.25, causal: aux, ");
  CHECK(mod == all + 8);
  CHECK(mod_active == all / 4 + 8);
  CHECK(count("mor", "recursions: 2, ").second == all + 2 * 8);
  CHECK(count("mor", "recursions: 2, capacities: [0.5, 0.25], ").second == all / 2 + 2 * 8);
}
