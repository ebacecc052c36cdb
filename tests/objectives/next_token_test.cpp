#include <doctest/doctest.h>

#include <cmath>

#include "eval/evaluator.h"
#include "nn/ledger.h"
#include "store/journal.h"
#include "support/models.h"
#include "support/named.h"
#include "support/run_calls.h"
#include "support/tensors.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr int64_t kVocab = 11, kRows = 3, kTokens = 5;
constexpr double kZ = 0.3;

std::unique_ptr<Objective> with_z(double z) {
  return all_objectives.read(parse_config("{type: next_token, z_loss: " + std::to_string(z) + "}", "test")).build();
}

}  // namespace

TEST_CASE("next_token: z_loss adds the mean of log^2 Z over targets that count to what is minimised, not to the loss") {
  const Threads one(1);
  const auto model = build_model("{d_model: 8, init: {std: 0.5}, layers: [{mixer: min_gru}]}", kVocab, kTokens);
  const Tensor ids = random_ids(kRows, kTokens, kVocab, 1), targets = random_ids(kRows, kTokens, kVocab, 2);
  for (const int64_t ignored : {2, 3, 9}) targets.data<int32_t>()[ignored] = kIgnoredTarget;
  constexpr int64_t kCounted = kRows * kTokens - 3;
  Ledger ledger;
  const auto loss = [&](double z, bool adds_up = true) {
    ledger = Ledger(kCounted);
    Context cx;
    cx.phase = Phase::train;
    if (adds_up) cx.ledger = &ledger;
    return with_z(z)->loss(*model, {ids, targets, {}}, 1.0 / kCounted, cx, nullptr);
  };
  const Tensor plain = loss(0);
  CHECK(ledger.rows().empty());
  CHECK(same_bits(loss(kZ, false), plain));
  CHECK(same_bits(loss(kZ), plain));
  const Tensor logits = model->logits(ids, {});
  double squares = 0;
  for (int64_t r = 0; r < kRows * kTokens; ++r) {
    double z = 0;
    for (int64_t q = 0; q < kVocab; ++q) z += std::exp(at(logits, r, q));
    if (targets.data<int32_t>()[r] != kIgnoredTarget) squares += std::log(z) * std::log(z);
  }
  REQUIRE(ledger.rows().size() == 1);
  CHECK(ledger.rows()[0].name == "z_loss");
  CHECK(ledger.rows()[0].value == doctest::Approx(squares / kCounted).epsilon(1e-12));

  // The whole gradient, by differences.
  const ParamStore& params = model->params();
  const Slab gradient(params.slab_elements(), DType::f64);
  loss_gradient(
      *model, [&] { return loss(kZ); }, gradient);
  constexpr double kStep = 1e-5;
  for (const Parameter* p : params.sorted())
    for (int64_t i = 0; i < p->shape.numel(); i += 3) {
      const int64_t row = i / p->shape.cols(), col = i % p->shape.cols();
      const double before = at(p->value, row, col);
      double slope = 0;
      for (const double sign : {1.0, -1.0}) {
        put(p->value, row, col, before + sign * kStep);
        slope += sign * at(loss(kZ), 0, 0) / (2 * kStep);
        slope += sign * kZ * ledger.rows()[0].value / (2 * kStep);
      }
      put(p->value, row, col, before);
      CHECK_MESSAGE(std::abs(at(params.view(gradient, *p), row, col) - slope) < 1e-8, p->name);
    }
}

TEST_CASE("next_token: a run with z_loss reports it and keeps log Z smaller, and what was known of a run stays") {
  const Threads one(1);
  const TinyFolder t("z_loss_run");
  const auto column = [&](const Sets& set, const char* name) {
    const JournalData data = read_journal(train(t, set).folder / "metrics.jsonl");
    const std::vector<double>* found = data.find("train")->find(name);
    return found ? *found : std::vector<double>();
  };
  const std::vector<double> weak = column({"objective.z_loss=1e-9"}, "z_loss"),
                            strong = column({"objective.z_loss=0.1"}, "z_loss");
  CHECK(column({}, "z_loss").empty());
  REQUIRE(weak.size() == 10);
  CHECK(strong.back() < 0.5 * weak.back());
  const auto hash = [](const char* z) {
    return experiment_hash(
        read_run_config(parse_config("model: {d_model: 16, layers: [{mixer: {type: min_gru}, ffn: {type: "
                                     "mlp}}]}\ndata: {corpus: data/tiny.yaml}\n"
                                     "optim: {lr: 0.01}\ntrain: {batch: 4, context: 16, max_steps: 20, lanes: 2}\n" +
                                         std::string(z),
                                     "c.yaml"),
                        "c.yaml"));
  };
  // Of a run before there was a z_loss.
  CHECK(hash("") == "1bec00d934eb1ef5b1f98521e9ee4f7b5ed70ac42317ac83d80f75d6505df409");
  CHECK(hash("objective: {z_loss: 0}") == hash(""));
  CHECK(hash("objective: {z_loss: 0.1}") != hash(""));
}
