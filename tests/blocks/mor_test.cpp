// What Mixture-of-Recursions is equal to.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include "blocks/block.h"
#include "mixers/built_mixer.h"
#include "nn/ledger.h"
#include "ops/arithmetic.h"
#include "support/models.h"

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
  Tensor run(const Tensor& x, Phase phase, Ledger* ledger = nullptr) const {
    Context cx;
    cx.phase = phase;
    cx.ledger = ledger;
    return mixer->forward(x, cx);
  }
};

Tensor with_first(double value) {
  const Tensor x = random({2, kTokens, kWidth}, 1);
  for (int64_t r = 0; r < x.rows(); ++r) put(x, r, 0, value);
  return x;
}
double row(const Ledger& ledger, std::string_view name) {
  for (const Measured& m : ledger.rows())
    if (m.name == name) return m.value;
  FAIL("no row " << name);
  return 0;
}

}  // namespace

TEST_CASE("mor: one step that all take with weight 1 is the dense block to the bit") {
  const Tensor x = with_first(1);
  const Block one("mor", "recursions: 1, weight: raw, "), dense("residual", "");
  fill(one["routers.weight"].value, 0);
  put(one["routers.weight"].value, 0, 0, 1);
  for (const Phase phase : {Phase::train, Phase::infer}) CHECK(same_bits(one.run(x, phase), dense.forward(x)));
}

TEST_CASE("mor: tokens that choose one depth run the dense block as often, and so much of it counts as they are sure") {
  const Tensor x = with_first(1);
  const Block m("mor", "recursions: 3, routing: token, "), dense("residual", "");
  for (int64_t depth = 0; depth < 3; ++depth) {
    fill(m["routers.weight"].value, 0);
    put(m["routers.weight"].value, depth, 0, 2);
    Tensor h = x;
    for (int64_t r = 0; r <= depth; ++r) h = dense.forward(h);
    const double p = std::exp(2.0) / (std::exp(2.0) + 2);
    const Tensor want = add(scale(x, 1 - p), scale(h, p));
    Ledger ledger(0, x.rows());
    CHECK(max_diff(m.run(x, Phase::train, &ledger), want) < 1e-12 * max_abs(want));
    CHECK(row(ledger, "steps") == static_cast<double>(depth + 1));
  }
}

TEST_CASE("mor: a step takes of the tokens of the one before those with the largest score, and says how sure it is") {
  const Tensor x = random({2, kTokens, kWidth}, 1);
  const Block m("mor", "recursions: 2, capacities: [0.6, 0.3], ");
  Ledger ledger(0, x.rows());
  std::vector<Tensor> marks;
  const Taps look = [&](std::string_view name, const Tensor& value) {
    if (name.ends_with("selected")) marks.push_back(value);
    return value;
  };
  Context cx;
  cx.phase = Phase::train;
  cx.taps = &look;
  cx.ledger = &ledger;
  m.mixer->forward(x, cx);
  REQUIRE(marks.size() == 2);
  for (int64_t b = 0; b < 2; ++b) {
    int64_t first = 0, second = 0;
    for (int64_t t = 0; t < kTokens; ++t) {
      const int64_t a = *marks[0].view<int64_t>().row(b * kTokens + t),
                    c = *marks[1].view<int64_t>().row(b * kTokens + t);
      first += a;
      second += c;
      CHECK(c <= a);
    }
    CHECK(first == 6);   // ceil(0.6 9)
    CHECK(second == 3);  // ceil(0.3 9)
  }
  CHECK(row(ledger, "agreement") > 0);
  CHECK(row(ledger, "agreement") < 1);
  CHECK(row(ledger, "causal_loss") > 0);
  CHECK_THROWS_WITH_AS(Block("mor", "recursions: 2, capacities: [0.3, 0.6], "), doctest::Contains("none above"),
                       ConfigError);
  CHECK_THROWS_AS(Block("mor", "recursions: 3, capacities: [0.6, 0.3], "), ConfigError);
  for (const char* idle : {"weight: raw, alpha: 0.2, ", "weight: none, alpha: 0.2, ", "routing: token, alpha: 0.2, ",
                           "routing: token, weight: raw, ", "routing: token, capacities: [1, 1, 1], ", "balance: 0.2, ",
                           "depth_weight: sigmoid, "})
    CHECK_THROWS_WITH_AS(Block("mor", idle), doctest::Contains(" nothing with"), ConfigError);
}

TEST_CASE("mor: with shared states keys and values are made and remembered once, those that the first step makes") {
  const auto bytes = [](const Block& b) { return site_of(*b.mixer)->bytes(kTokens, DType::f64); };
  for (const std::string routing : {"expert", "token"}) {
    const Block own("mor", "routing: " + routing + ", "), shared("mor", "states: shared, routing: " + routing + ", ");
    CHECK(3 * bytes(shared) == bytes(own));
    CHECK(bytes(shared) == 2 * kTokens * kWidth * 8);
  }
  for (const char* refused : {"states: shared, recursions: 1, ", "states: shared, capacities: [0.9, 0.6, 0.3], "})
    CHECK_THROWS_WITH_AS(Block("mor", refused), doctest::Contains("`states: shared`"), ConfigError);
  for (const char* mixer : {"min_gru", "{type: gla, heads: 2}"})
    CHECK_THROWS_WITH_AS(
        BuiltMixer(all_blocks.find("mor"), fmt::format("{{states: shared, mixer: {}, ffn: mlp}}", mixer), kWidth),
        doctest::Contains("keys can be lent"), ConfigError);
  for (const char* option : {"position: alibi", "window: 4, sinks: 1", "value_residual: 0.5"})
    CHECK_THROWS_WITH_AS(
        BuiltMixer(all_blocks.find("mor"),
                   fmt::format("{{states: shared, mixer: {{type: attention, heads: 2, {}}}, ffn: mlp}}", option),
                   kWidth),
        doctest::Contains("keys that are lent"), ConfigError);
}
