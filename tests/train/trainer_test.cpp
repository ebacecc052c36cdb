#include "train/trainer.h"

#include <doctest/doctest.h>

#include <cmath>

#include "base/random.h"
#include "support/close.h"
#include "support/messages.h"
#include "support/models.h"
#include "support/named.h"
#include "support/tensors.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr int64_t kVocab = 13;
constexpr std::string_view kModel =
    "{d_model: 8, dropout: 0.2, init: {std: 0.4}, block: {ffn: {type: swiglu}}, layers: [{mixer: {type: attention, "
    "heads: 2, dropout: 0.1}}, {mixer: {type: gla, heads: 2, gate_rank: 3}}, {mixer: {type: min_gru, conv: 3}, ffn: "
    "none}]}";

Batch random_batch(int64_t batch, int64_t tokens, uint64_t seed) {
  Batch b{.batch = batch, .tokens = tokens, .inputs = {}, .targets = {}, .segments = {}};
  const RandomStream numbers(seed, "batch");
  for (uint64_t i = 0; i < static_cast<uint64_t>(batch * tokens); ++i) {
    b.inputs.push_back(static_cast<int32_t>(numbers.below(2 * i, kVocab)));
    b.targets.push_back(static_cast<int32_t>(numbers.below(2 * i + 1, kVocab)));
  }
  return b;
}

// Remembers the gradient that it was given, times the clipping; weights stay as they are.
class Given final : public Optimizer {
 public:
  explicit Given(ParamStore& store) : Optimizer({}, {}, store), gradient(store.slab_elements(), DType::f64) {}
  Slab gradient;

 private:
  void update(const Slab& g, double scale, double) override {
    for (int64_t i = 0; i < g.elements(); ++i) gradient.data<double>()[i] = scale * g.data<double>()[i];
  }
};

struct Rig {
  std::unique_ptr<LanguageModel> model;
  Given optimizer;
  Trainer trainer;
  Rig(ShardPlan plan, const StepOptions& o, std::string_view yaml = kModel, DType type = DType::f64)
      : model(build_model(yaml, kVocab, 16, type)),
        optimizer(model->params()),
        trainer(*model, next_token(), optimizer, std::move(plan), o) {}
};

double difference(const Slab& a, const Slab& b) {
  double worst = 0;
  for (int64_t i = 0; i < a.elements(); ++i)
    worst = std::max(worst, std::abs(a.data<double>()[i] - b.data<double>()[i]));
  return worst;
}

// A batch where rows and parts of rows carry no loss, and documents begin inside rows.
Batch masked_batch() {
  Batch b = random_batch(6, 7, 1);
  for (int64_t row = 0; row < 6; ++row)
    for (int64_t t = 0; t < 7; ++t) b.segments.push_back(t >= row ? 1 : 0);
  for (size_t i = 0; i < b.targets.size(); ++i)
    if (i / 7 == 2 || i % 7 == i / 7 || i < 5) b.targets[i] = kIgnoredTarget;
  return b;
}

}  // namespace

TEST_CASE("trainer: the gradient and loss of a sharded step are those of the whole batch, however it is cut") {
  const Threads one(1);
  const Poison poison;
  Batch batch = masked_batch();
  constexpr int64_t kStep = 3;
  batch.first_sample = 20;
  const auto model = build_model(kModel, kVocab, 16);
  const Slab whole(model->params().slab_elements(), DType::f64);
  const Tensor ids = Tensor::view_of(std::span(batch.inputs), {6, 7}),
               targets = Tensor::view_of(std::span(batch.targets), {6, 7}),
               segments = Tensor::view_of(std::span(batch.segments), {6, 7});
  Context cx;
  cx.phase = Phase::train;
  cx.segments = segments;
  cx.seed = 9, cx.step = kStep, cx.samples = 20;
  REQUIRE(batch.counted() < 6 * 7 - 12);
  const double loss = loss_gradient(
      *model, [&] { return model->loss(ids, targets, 1.0 / static_cast<double>(batch.counted()), cx); }, whole);
  double norm = 0;
  for (int64_t i = 0; i < whole.elements(); ++i) norm += whole.data<double>()[i] * whole.data<double>()[i];
  norm = std::sqrt(norm);
  for (const int64_t lanes : {1, 2, 3, 6})
    for (const int64_t shard_tokens : {1, 14, 1000}) {
      INFO("lanes " << lanes << ", shards of " << shard_tokens);
      Rig rig(plan_shards(6, 7, lanes, shard_tokens, 1000), {.seed = 9, .clip = 0});
      const StepResult r = rig.trainer.step(batch, kStep, 1);
      CHECK(r.finite);
      CHECK(r.tokens == 42);
      CHECK(std::abs(r.loss - loss) < 1e-12);
      CHECK(std::abs(r.grad_norm - norm) < 1e-12);
      CHECK(difference(rig.optimizer.gradient, whole) < 1e-12);
    }
  CHECK(norm > 0.01);
}

TEST_CASE("trainer: a step long enough for transposed copies of weights has the loss and gradient of one without") {
  const Threads one(1);
  const Batch batch = random_batch(20, 16, 4);
  REQUIRE(TransposedWeights::pay(20 * 16));
  const auto model = build_model(kModel, kVocab, 16);
  const Slab whole(model->params().slab_elements(), DType::f64);
  const Tensor ids = Tensor::view_of(std::span(batch.inputs), {20, 16}),
               targets = Tensor::view_of(std::span(batch.targets), {20, 16});
  Context cx;
  cx.phase = Phase::train;
  cx.seed = 9, cx.step = 0, cx.samples = 0;
  const double loss = loss_gradient(
      *model, [&] { return model->loss(ids, targets, 1.0 / 320, cx); }, whole);
  Rig rig(plan_shards(20, 16, 2, 64, 1000), {.seed = 9, .clip = 0});
  CHECK(std::abs(rig.trainer.step(batch, 0, 1).loss - loss) < 1e-12);
  CHECK(difference(rig.optimizer.gradient, whole) < 1e-12);
  for (const Parameter* p : rig.model->params().sorted()) CHECK_FALSE(p->transposed.defined());
}

TEST_CASE("trainer: a gradient longer than `clip` is scaled to it, a shorter one is not") {
  const Threads one(1);
  const Batch batch = random_batch(4, 7, 2);
  Rig free(plan_shards(4, 7, 2, 7, 1000), {.seed = 1, .clip = 0});
  const double norm = free.trainer.step(batch, 0, 1).grad_norm;
  for (const double clip : {norm / 10, norm * 10}) {
    Rig rig(plan_shards(4, 7, 2, 7, 1000), {.seed = 1, .clip = clip});
    const StepResult r = rig.trainer.step(batch, 0, 1);
    CHECK(r.grad_norm == norm);
    double clipped = 0;
    for (int64_t i = 0; i < rig.optimizer.gradient.elements(); ++i)
      clipped += std::pow(rig.optimizer.gradient.data<double>()[i], 2);
    CHECK(close(std::sqrt(clipped), std::min(norm, clip), 1e-5));
    if (clip > norm) CHECK(difference(rig.optimizer.gradient, free.optimizer.gradient) == 0);
  }
}

TEST_CASE("trainer: dropout is another one at each step and with each seed") {
  const Threads one(1);
  const Batch batch = random_batch(4, 7, 3);
  const auto loss = [&](uint64_t seed, int64_t step) {
    Rig rig(plan_shards(4, 7, 2, 7, 1000), {.seed = seed, .clip = 0});
    return rig.trainer.step(batch, step, 1).loss;
  };
  CHECK(loss(1, 0) == loss(1, 0));
  CHECK(loss(1, 0) != loss(1, 1));
  CHECK(loss(1, 0) != loss(2, 0));
}

TEST_CASE("trainer: a step that is not finite updates nothing, and its place is named") {
  const Threads one(1);
  const Batch batch = random_batch(4, 7, 4);
  Rig rig(plan_shards(4, 7, 2, 7, 1000), {.seed = 1, .clip = 1});
  CHECK_NOTHROW(rig.trainer.find_nonfinite(batch, 0));
  const Tensor weight = rig.model->params().find("layers.1.mixer.out.weight")->value;
  const double before = at(weight, 2, 3);
  put(weight, 2, 3, std::nan(""));
  CHECK_FALSE(rig.trainer.step(batch, 5, 1).finite);
  CHECK(rig.optimizer.steps() == 0);
  for (int64_t i = 0; i < rig.optimizer.gradient.elements(); ++i)
    REQUIRE(rig.optimizer.gradient.data<double>()[i] == 0);
  const std::string message = message_of<NumericalError>([&] { rig.trainer.find_nonfinite(batch, 5); });
  INFO(message);
  CHECK(message.find("linear") != message.npos);
  CHECK(message.find("layers.1.mixer") != message.npos);
  CHECK(message.find("step 5") != message.npos);
  CHECK(ParamGrads::current == nullptr);
  put(weight, 2, 3, before);
  CHECK(rig.trainer.step(batch, 6, 1).finite);
  CHECK(rig.optimizer.steps() == 1);
}
