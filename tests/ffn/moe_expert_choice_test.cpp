// Experts that choose their tokens: how many, of which sequence, and what the causal form makes of it.
#include <doctest/doctest.h>

#include "cores/route/choose_tokens.h"
#include "ffn/ffn.h"
#include "mixers/built_mixer.h"
#include "nn/ledger.h"
#include "support/trained_layer.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr int64_t kWidth = 8;

struct ExpertChoice : BuiltMixer {
  explicit ExpertChoice(std::string_view options) : BuiltMixer(all_ffns.find("moe_expert_choice"), options, kWidth) {
    shake(0.3);
  }
  const Tensor& threshold() const { return store.find_buffer("buffers.router.threshold")->value; }
  void apply(const Ledger& ledger) { ledger.apply(store); }
};
// Experts 0 and 1 of 2 score a token by sigmoid(8 x_0) and what is left.
void route_by_first(const BuiltMixer& m) {
  fill(m["router.weight"].value, 0);
  put(m["router.weight"].value, 0, 0, 4);
  put(m["router.weight"].value, 1, 0, -4);
}
double score(double first) { return 1 / (1 + std::exp(-8 * first)); }
Tensor with_first(const std::vector<double>& values) {
  const Tensor x = random({1, static_cast<int64_t>(values.size()), kWidth}, 2);
  for (size_t t = 0; t < values.size(); ++t) put(x, static_cast<int64_t>(t), 0, values[t]);
  return x;
}
std::vector<bool> taken(const Tensor& y) {
  std::vector<bool> all;
  for (int64_t r = 0; r < y.rows(); ++r) all.push_back(max_abs(y.row_range(r, {1, y.cols()})) > 0);
  return all;
}

}  // namespace

TEST_CASE("moe_expert_choice: one expert that takes all is the dense perceptron to the bit, in both forms") {
  const Tensor x = random({2, 7, kWidth}, 1);
  const ExpertChoice m("{experts: 1, factor: 1, expand: 2}");
  const BuiltMixer d(all_ffns.find("swiglu"), "{expand: 2}", kWidth);
  copy(m["experts.gate_up.weight"].value, d["gate_up.weight"].value);
  copy(m["experts.down.weight"].value, d["down.weight"].value);
  CHECK(same_bits(train(m, x).y, d.forward(x)));
  fill(m.threshold(), 0.5);
  CHECK(same_bits(m.forward(x), d.forward(x)));
}

TEST_CASE("moe_expert_choice: the best tokens of a sequence are taken, and the causal form goes by the border") {
  ExpertChoice m("{experts: 2, factor: 1, threshold_decay: 0.25}");
  route_by_first(m);
  fill(m["experts.down.weight"].value.row_range(kWidth, {kWidth, m["experts.down.weight"].shape[1]}), 0);  // expert 1
  const Tensor x = with_first({0.1, 0.4, -0.3, 0.2, 0.3});  // of 5 tokens 3: those of expert 0 can be seen
  CHECK(m.threshold().data<double>()[0] == 0.5);
  const TrainedLayer first = train(m, x);
  CHECK(taken(first.y) == std::vector{false, true, false, true, true});
  CHECK(taken(m.forward(x)) == std::vector{true, true, false, true, true});  // above 0.5
  CHECK(first["untouched"] == 0);                                            // 0 and 2 are among the 3 of expert 1
  CHECK(first["causal_chosen"] == 1);
  CHECK(first["agreement"] == 4.0 / 7);  // 1, 3, 4 and 2 of expert 1; without them 0 of expert 0, 0 and 3 of expert 1
  CHECK(first["max_load"] == 1.6);
  m.apply(first.ledger);
  const double border = (score(0.2) + score(0.1)) / 2;
  CHECK(std::abs(m.threshold().data<double>()[0] - (0.25 * 0.5 + 0.75 * border)) < 1e-14);
  fill(m.threshold(), border);
  CHECK(taken(m.forward(x)) == std::vector{false, true, false, true, true});
  Context both;
  both.direction = Direction::bidirectional;
  fill(m.threshold(), 1);
  CHECK(same_bits(m.mixer->forward(x, both), first.y));  // nobody asks for a causal form there
}

TEST_CASE("moe_expert_choice: a document is a sequence of its own in training") {
  const ExpertChoice m("{experts: 4, factor: 1}");
  const Tensor x = random({1, 11, kWidth}, 1), segments = Tensor::zeros({1, 11}, DType::i64);
  for (int64_t t = 7; t < 11; ++t) put(segments, 0, t, 1);
  const auto form = [&](const Tensor& in, const Tensor& documents) {
    Context cx;
    cx.phase = Phase::train;
    cx.segments = documents;
    return m.mixer->forward(in, cx);
  };
  const Tensor packed = form(x, segments);
  for (const auto& [from, to] : {std::pair<int64_t, int64_t>{0, 7}, {7, 11}})
    CHECK(max_diff(tokens(packed, from, to), form(tokens(x, from, to), {})) < 1e-14);
  CHECK(max_diff(packed, form(x, {})) > 1e-3);
}

TEST_CASE("moe_expert_choice: the work counted is what is done in training and what is expected of thresholds") {
  const ExpertChoice m("{experts: 4, factor: 1.5, expand: 2}");
  const Tensor x = random({2, 6, kWidth}, 1);
  const double router = 2 * 12 * kWidth * 4, row = 2 * 3 * 16 * kWidth;
  CHECK(m.forward_cost(x).dense_flops == router + 1.5 * 12 * row);
  Meter meter;
  train(m, x);
  CHECK(meter.total.dense_flops == router + 2 * 4 * 3 * row);  // 2 sequences, 4 experts, 3 of 6 tokens: 2.25 in whole
  CHECK(m.store.active() == 4 * kWidth + 3 * 3 * 16 * kWidth / 2);
  CHECK_THROWS_WITH_AS(ExpertChoice("{experts: 2, factor: 3}"), doctest::Contains("factor is 3, but there are 2"),
                       ConfigError);
}

TEST_CASE("moe_expert_choice: experts that do nothing take a share of the scores and of the choices") {
  const Tensor x = random({2, 12, kWidth}, 1);
  const ExpertChoice all("{experts: 3, noops: 3, factor: 2}");
  CHECK(all["router.weight"].shape == Shape{6, kWidth});
  CHECK(all["experts.down.weight"].shape[0] == 3 * kWidth);
  CHECK(all.threshold().numel() == 3);
  const ExpertChoice fresh("{experts: 3, noops: 3, factor: 2}");
  CHECK(fresh.threshold().data<double>()[0] == 1.0 / 6);
  // Two of six experts a token, so that each takes a third of the tokens, and half of the choices are made.
  Tensor chosen;
  Context cx;
  cx.phase = Phase::train;
  const Taps look = [&](std::string_view name, const Tensor& value) {
    if (name.ends_with("selected")) chosen = value;
    return value;
  };
  cx.taps = &look;
  all.mixer->forward(x, cx);
  REQUIRE(chosen.defined());
  std::vector<int64_t> times(6);
  for (int64_t r = 0; r < chosen.rows(); ++r)
    for (int64_t j = 0; j < chosen.cols(); ++j)
      if (const int64_t e = chosen.view<int64_t>().row(r)[j]; e >= 0) ++times[static_cast<size_t>(e)];
  CHECK(times == std::vector<int64_t>{8, 8, 8, 0, 0, 0});
  CHECK(all.store.active() < fresh.store.count());
  // Where the others' scores vanish, nothing happens.
  ExpertChoice idle("{experts: 2, noops: 1, factor: 1.5}");
  fill(idle["router.weight"].value, 0);
  put(idle["router.weight"].value, 2, 0, 1e3);
  CHECK(max_abs(train(idle, with_first({1, 2, 3, 4})).y) < 1e-12);
  CHECK(max_abs(train(idle, with_first({-1, -2, -3, -4})).y) > 1e-6);
  CHECK_THROWS_WITH_AS(ExpertChoice("{experts: 2, noops: 1, factor: 3.5}"),
                       doctest::Contains("there are 3 experts that a token may have"), ConfigError);
}
