// A layer with an auxiliary loss, from its forward to the journal.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "base/random.h"
#include "blocks/residual.h"
#include "ops/loss.h"
#include "optim/adamw.h"
#include "support/models.h"
#include "support/named.h"
#include "support/run_calls.h"
#include "support/tensors.h"
#include "train/trainer.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr Metric kBalance{"balance", "1", "cross entropy of each token's features against the first"};
constexpr int64_t kVocab = 13, kRows = 6, kTokens = 5;
constexpr double kWeight = 0.7;

// Leaves x as it is, and adds a loss of it.
class Balanced final : public Layer {
 public:
  using Options = NoOptions;
  Balanced(const Options&, const LayerArgs&, const Scope&) { ++built; }
  static inline int built = 0;

 private:
  Tensor run(const Tensor& x, const Call& call) const override {
    const Tensor first = Tensor::dense({x.rows()}, DType::i32);
    if (!first.is_meta()) std::fill_n(first.data<int32_t>(), x.rows(), 0);
    call.loss(kBalance, cross_entropy(x, first, 1), kWeight);
    return x;
  }
};
constexpr LayerInfo kBalanced = LayerInfo::of<Balanced>(
    {.name = "balanced", .title = "", .family = "", .recurrence = "", .paper = "", .source = ""});
constexpr const LayerInfo* kAll[] = {&kBalanced};
constexpr List<LayerInfo> kLayers{"ffn", kAll};

void balance(LayerSpec& layer) {
  auto options = layer.block.copied_options();
  dynamic_cast<ResidualOptions&>(*options).ffn = Choice<LayerInfo>(kLayers, "balanced");
  layer.block.set_options(std::move(options));
}

std::unique_ptr<LanguageModel> model_with_losses() {
  ModelConfig c = read_model_config(
      parse_config("{d_model: 8, init: {std: 0.4}, layers: [{mixer: min_gru}, {mixer: {type: retnet, heads: 2}}]}",
                   "test.yaml"),
      kTokens);
  for (LayerSpec& layer : c.layers) balance(layer);
  auto model = std::make_unique<LanguageModel>(c, kVocab);
  model->params().materialize(5, DType::f64);
  return model;
}

}  // namespace

TEST_CASE("ledger: an auxiliary loss has its gradient and its row, however a batch is cut, blocks run again or not") {
  const Threads one(1);
  const auto model = model_with_losses();
  const Tensor ids = random_ids(kRows, kTokens, kVocab, 1), targets = random_ids(kRows, kTokens, kVocab, 2);
  Ledger ledger;
  const std::function<Tensor()> loss = [&] {
    Context cx;
    cx.phase = Phase::train;
    ledger = Ledger(0, kRows * kTokens);
    cx.ledger = &ledger;
    return model->loss(ids, targets, 1.0 / (kRows * kTokens), cx);
  };
  const Slab whole(model->params().slab_elements(), DType::f64);
  loss_gradient(*model, loss, whole);
  // Along one direction, by differences of all that is minimised.
  const RandomStream numbers(3, "direction");
  double slope = 0, norm = 0, differences = 0;
  constexpr double kStep = 1e-5;
  const auto move = [&](double by) {
    for (int64_t i = 0; i < whole.elements(); ++i)
      model->params().values().data<double>()[i] += by * (numbers.uniform(static_cast<uint64_t>(i)) - 0.5);
  };
  for (const double sign : {1.0, -1.0}) {
    move(sign * kStep);
    const double now = *loss().data<double>();
    for (const Measured& m : ledger.rows()) differences += sign * kWeight * m.value / (2 * kStep);
    differences += sign * now / (2 * kStep);
    move(-sign * kStep);
  }
  for (int64_t i = 0; i < whole.elements(); ++i) {
    const double g = whole.data<double>()[i];
    slope += g * (numbers.uniform(static_cast<uint64_t>(i)) - 0.5);
    norm += g * g;
  }
  CHECK(std::abs(slope - differences) < 1e-8);
  loss();
  const std::vector<Measured> rows = ledger.rows();
  REQUIRE(rows.size() == 2);
  CHECK(rows[0].name == "layers.0.ffn.balance");
  CHECK(rows[1].name == "layers.1.ffn.balance");
  CHECK(rows[1].metric == &kBalance);

  Batch batch{.batch = kRows, .tokens = kTokens, .inputs = {}, .targets = {}, .segments = {}};
  batch.inputs.assign(ids.data<int32_t>(), ids.data<int32_t>() + ids.numel());
  batch.targets.assign(targets.data<int32_t>(), targets.data<int32_t>() + targets.numel());
  OptimOptions still;
  still.lr = still.weight_decay = 0;
  for (const int64_t lanes : {1, 3, 6})
    for (const int64_t shard_tokens : {1, 1000})
      for (const bool recompute : {false, true}) {
        INFO("lanes " << lanes << ", shards of " << shard_tokens << ", recompute " << recompute);
        AdamW optimizer(still, {}, model->params());
        Trainer trainer(*model, next_token(), optimizer, plan_shards(kRows, kTokens, lanes, shard_tokens, 1000),
                        {.clip = 0, .recompute = recompute});
        const StepResult step = trainer.step(batch, 0, 1);
        CHECK(std::abs(step.grad_norm - std::sqrt(norm)) < 1e-12);
        REQUIRE(step.rows.size() == 2);
        for (size_t i = 0; i < 2; ++i) {
          CHECK(step.rows[i].name == rows[i].name);
          CHECK(std::abs(step.rows[i].value - rows[i].value) < 1e-12);
        }
      }
}

TEST_CASE("ledger: a run's journal names what layers add up before the first step, and the model is built once") {
  const Threads one(1);
  const TinyFolder t("ledger_run");
  RunRequest r = request(t, {"train.max_steps=20"});
  balance(r.config.model.layers[1]);
  Balanced::built = 0;
  const std::filesystem::path folder = Run(std::move(r)).train().folder;
  CHECK(Balanced::built == 1);
  const std::string journal = slurp(folder / "metrics.jsonl");
  CHECK(journal.find("\"layers.1.ffn.balance\":0.0") < journal.find('\n'));
  const JournalData data = read_journal(folder / "metrics.jsonl");
  const std::vector<double>* column = data.find("train")->find("layers.1.ffn.balance");
  REQUIRE(column);
  CHECK(column->size() == 2);
  for (const double v : *column) CHECK(v > 0.1);
  CHECK(slurp(folder / "metrics.h5").find(kBalance.title) != std::string::npos);
}
