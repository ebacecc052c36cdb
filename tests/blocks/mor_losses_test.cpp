// What Mixture-of-Recursions measures of its choices, and what its loss weighs, in figures written out.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "blocks/block.h"
#include "mixers/built_mixer.h"
#include "nn/ledger.h"
#include "support/models.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr int64_t kWidth = 12, kTokens = 8, kRows = 3;
constexpr double kWeight = 0.5;

double row(const Ledger& ledger, std::string_view name) {
  for (const Measured& m : ledger.rows())
    if (m.name == name) return m.value;
  FAIL("no row " << name);
  return 0;
}

struct Step {
  double loss = 0, agreed = 0, asked = 0;    // of those that it chooses from
  std::vector<double> slopes;                // of the mean loss by each number of its router
  std::vector<std::vector<int64_t>> chosen;  // of each sequence
};

// Of a step that takes the `count` largest x . w of each sequence among `from`.
Step choose(const Tensor& x, const std::vector<double>& w, const std::vector<std::vector<int64_t>>& from,
            size_t count) {
  Step s;
  s.slopes.resize(kWidth);
  for (int64_t b = 0; b < kRows; ++b) {
    std::vector<std::pair<double, int64_t>> scores;
    for (const int64_t t : from[static_cast<size_t>(b)]) {
      double sum = 0;
      for (int64_t c = 0; c < kWidth; ++c) sum += at(x, b * kTokens + t, c) * w[static_cast<size_t>(c)];
      scores.emplace_back(-sum, t);
    }
    std::ranges::sort(scores);
    std::vector<int64_t>& taken = s.chosen.emplace_back();
    for (size_t i = 0; i < scores.size(); ++i) {
      const double z = -scores[i].first, mark = i < count ? 1 : 0;
      if (i < count) taken.push_back(scores[i].second);
      s.loss += std::log1p(std::exp(-z)) + (1 - mark) * z;
      s.agreed += (z > 0) == (mark > 0);
      ++s.asked;
      for (int64_t c = 0; c < kWidth; ++c)
        s.slopes[static_cast<size_t>(c)] += (1 / (1 + std::exp(-z)) - mark) * at(x, b * kTokens + scores[i].second, c);
    }
  }
  for (double& slope : s.slopes) slope /= s.asked;
  return s;
}

}  // namespace

TEST_CASE("mor: its causal loss is the mean over those that a step chooses from, its agreement over all decisions") {
  BuiltMixer m(all_blocks.find("mor"),
               fmt::format("{{recursions: 3, capacities: [0.75, 0.5, 0.25], causal_weight: {}, mixer: {{type: "
                           "attention, heads: 2}}, ffn: mlp}}",
                           kWeight),
               kWidth);
  m.shake(0.3);
  for (const Parameter* p : m.store.sorted())  // a step adds nothing, so that all scores are of x
    if (p->name.ends_with("out.weight") || p->name.ends_with("down.weight")) fill(p->value, 0);
  const Tensor x = random({kRows, kTokens, kWidth}, 1);
  std::vector<std::vector<int64_t>> from(kRows, std::vector<int64_t>(kTokens));
  for (auto& all : from) std::iota(all.begin(), all.end(), 0);
  std::vector<Step> steps;
  double score_sum = 0, above = 0;
  for (int64_t r = 0; r < 3; ++r) {
    std::vector<double> w;
    for (int64_t c = 0; c < kWidth; ++c) w.push_back(at(m["routers.weight"].value, r, c));
    steps.push_back(choose(x, w, from, static_cast<size_t>(6 - 2 * r)));
    for (size_t b = 0; b < kRows; ++b)
      for (const int64_t t : from[b]) {
        double sum = 0;
        for (size_t c = 0; c < kWidth; ++c)
          sum += at(x, static_cast<int64_t>(b) * kTokens + t, static_cast<int64_t>(c)) * w[c];
        score_sum += sum;
        above += sum > 0;
      }
    from = steps.back().chosen;
  }
  Ledger ledger(0, x.rows());
  Context cx;
  cx.phase = Phase::train;
  cx.ledger = &ledger;
  const Slab slab(m.store.slab_elements(), DType::f64);
  ParamGrads grads = m.store.gradients(slab);
  ParamGrads::current = &grads;
  {
    Tape tape;
    const Tensor leaf = tape.leaf(x);
    Tensor y;
    {
      const Tape::Recording recording(tape);
      y = m.mixer->forward(leaf, cx);
    }
    CHECK(max_diff(y, x) == 0);
    tape.backward(y, Tensor::zeros(y.shape(), DType::f64));  // of the loss of the choice alone
  }
  ParamGrads::current = nullptr;
  grads.zero_unwritten();
  double loss = 0, agreed = 0, asked = 0;
  for (const Step& s : steps) loss += s.loss, agreed += s.agreed, asked += s.asked;
  CHECK(asked == kRows * (8 + 6 + 4));
  CHECK(agreed < asked);
  CHECK(row(ledger, "causal_loss") == doctest::Approx(loss / (kRows * kTokens)).epsilon(1e-12));
  CHECK(row(ledger, "agreement") == doctest::Approx(agreed / asked).epsilon(1e-12));
  CHECK(row(ledger, "router_mean") == doctest::Approx(score_sum / asked).epsilon(1e-12));
  CHECK(row(ledger, "router_positive") == doctest::Approx(above / asked).epsilon(1e-12));
  const Tensor slopes = m.store.view(slab, m["routers.weight"]);
  for (int64_t r = 0; r < 3; ++r)
    for (int64_t c = 0; c < kWidth; ++c)
      CHECK(at(slopes, r, c) ==
            doctest::Approx(kWeight * steps[static_cast<size_t>(r)].slopes[static_cast<size_t>(c)]).epsilon(1e-10));
}

TEST_CASE("mor: outside training tokens choose by themselves, and each layer has routers of its own") {
  BuiltMixer m(all_blocks.find("mor"),
               "{recursions: 2, capacities: [0.5, 0.25], weight: raw, mixer: min_gru, ffn: mlp}", kWidth);
  m.shake(0.3);
  fill(m["routers.weight"].value, 0);
  for (int64_t r = 0; r < 2; ++r) put(m["routers.weight"].value, r, 0, 1);
  const Tensor x = random({kRows, kTokens, kWidth}, 1);
  for (int64_t r = 0; r < x.rows(); ++r) put(x, r, 0, r % kTokens < 7 ? 1 : -1);  // seven of eight say yes
  const Tensor y = m.forward(x);
  for (int64_t r = 0; r < x.rows(); ++r)
    CHECK((max_diff(y.row_range(r, {1, kWidth}), x.row_range(r, {1, kWidth})) > 0) == (r % kTokens < 7));
  const auto model = build_model("{d_model: 8, layers: [{repeat: 2, of: [{type: mor, mixer: min_gru}]}]}", 13);
  for (const char* name : {"layers.0.routers.weight", "layers.1.routers.weight"})
    CHECK_MESSAGE(model->params().find(name) != nullptr, name);
}
