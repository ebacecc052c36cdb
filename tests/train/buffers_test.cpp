// Buffers in a run: they change once a step, from the whole batch, after a step that was finite, and are saved.
#include <doctest/doctest.h>

#include <limits>

#include "autodiff/interrupt.h"
#include "checkpoint/checkpoint.h"
#include "data/batches.h"
#include "optim/adamw.h"
#include "support/models.h"
#include "support/named.h"
#include "support/run_calls.h"
#include "train/trainer.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr int64_t kVocab = 13, kRows = 12, kTokens = 10;
const std::string kFfn = "{type: moe, experts: 4, top_k: 2, expand: 1, bias_rate: 0.01, router_z: 0.001, shared: 1}";

// A mixture of experts that trains on random tokens.
struct Rig {
  std::unique_ptr<LanguageModel> model =
      build_model("{d_model: 8, init: {std: 0.4}, layers: [{repeat: 2, of: [{mixer: min_gru, ffn: " + kFfn + "}]}]}",
                  kVocab, kTokens);
  AdamW optimizer{{}, {}, model->params()};
  Trainer trainer;
  explicit Rig(int64_t lanes = 4, int64_t shard_tokens = 20, bool recompute = false)
      : trainer(*model, next_token(), optimizer, plan_shards(kRows, kTokens, lanes, shard_tokens, 1000),
                {.recompute = recompute}) {}
  StepResult step(uint64_t number) {
    Batch batch{.batch = kRows, .tokens = kTokens, .inputs = {}, .targets = {}, .segments = {}};
    const Tensor in = random_ids(kRows, kTokens, kVocab, 2 * number),
                 out = random_ids(kRows, kTokens, kVocab, 2 * number + 1);
    batch.inputs.assign(in.data<int32_t>(), in.data<int32_t>() + in.numel());
    batch.targets.assign(out.data<int32_t>(), out.data<int32_t>() + out.numel());
    return trainer.step(batch, static_cast<int64_t>(number), 1);
  }
  const Tensor& buffer(std::string_view name) const {
    const std::string kind = name == "load" ? "statistics" : "buffers";
    const ModelBuffer* b = model->params().find_buffer(kind + ".layers.1.ffn.router." + std::string(name));
    REQUIRE(b);
    return b->value;
  }
};
double number(const StepResult& r, std::string_view name) {
  for (const Measured& m : r.rows)
    if (m.name == name) return m.value;
  FAIL("no row " << name);
  return 0;
}

}  // namespace

TEST_CASE("buffers: shares and biases are those of the whole batch, for any threads, lanes, shards and recomputation") {
  Rig first;
  const StepResult one = first.step(0);
  const Tensor load = first.buffer("load").clone(), bias = first.buffer("bias").clone();
  double sum = 0, most = 0;
  for (int64_t e = 0; e < 4; ++e) {
    const double share = at(load, 0, e);
    CHECK(at(bias, 0, e) == (share < 0.25 ? 0.01 : share > 0.25 ? -0.01 : 0));
    CHECK(std::abs(share * kRows * kTokens * 2 - std::round(share * kRows * kTokens * 2)) < 1e-9);
    sum += share;
    most = std::max(most, share);
  }
  CHECK(std::abs(sum - 1) < 1e-12);
  CHECK(number(one, "layers.1.ffn.max_load") == doctest::Approx(4 * most).epsilon(1e-12));
  CHECK(number(one, "layers.1.ffn.balance") == doctest::Approx(1).epsilon(1e-12));  // shares start even
  const StepResult two = first.step(1);
  CHECK(number(two, "layers.1.ffn.balance") != number(one, "layers.1.ffn.balance"));
  const std::string hash = parameter_hash(first.model->params());
  for (const int threads : {1, 2, 3}) {
    const Threads some(threads);
    Rig same;
    same.step(0);
    same.step(1);
    CHECK(parameter_hash(same.model->params()) == hash);
  }
  for (const int64_t lanes : {1, 3, 12})
    for (const int64_t shard_tokens : {10, 40})
      for (const bool recompute : {false, true}) {
        Rig other(lanes, shard_tokens, recompute);
        const StepResult r = other.step(0);
        CHECK(same_bits(other.buffer("load"), load));
        CHECK(same_bits(other.buffer("bias"), bias));
        for (size_t i = 0; i < r.rows.size(); ++i) CHECK(std::abs(r.rows[i].value - one.rows[i].value) < 1e-12);
      }
}

TEST_CASE("buffers: a step that is not finite, or given up, leaves them as they were") {
  const Threads one(1);
  Rig rig;
  rig.step(0);
  const Tensor load = rig.buffer("load").clone();
  const Tensor weight = rig.model->params().find("embedding.weight")->value;
  const double before = at(weight, 0, 0);
  put(weight, 0, 0, std::numeric_limits<double>::infinity());
  CHECK_FALSE(rig.step(1).finite);
  CHECK(same_bits(rig.buffer("load"), load));
  put(weight, 0, 0, before);
  int asked = 0;
  {
    const Interrupt interrupt([&] { return ++asked > 100; });
    CHECK_THROWS_AS(rig.step(1), Interrupted);
  }
  CHECK(same_bits(rig.buffer("load"), load));
  rig.step(1);
  CHECK_FALSE(same_bits(rig.buffer("load"), load));
}

TEST_CASE("buffers: a run that was stopped goes on with them, and a file without them is refused by name") {
  const Threads one(1);
  const TinyFolder t("buffers_run");
  const Sets moe = {"model.block.ffn=" + kFfn, "optim.schedule={type: constant}", "train.max_steps=40"};
  const auto last = [&](const Sets& set, bool resume) { return RunFolder(train(t, with(moe, set), resume).folder); };
  const std::string whole = hash_of(last({"name=whole"}, false).checkpoint(40));
  last({"name=parts", "train.max_steps=20"}, false);
  const RunFolder parts = last({"name=parts"}, true);
  CHECK(hash_of(parts.checkpoint(40)) == whole);
  const std::string kBuffer = "buffers.layers.2.ffn.router.bias";
  const SafetensorsFile file(parts.checkpoint(40));
  REQUIRE(file.find(kBuffer));
  ParamStore store;
  Scope(store).buffer("other", 4, 0, {});
  CHECK(has(misfit(file, store), "holds `"));
  ParamStore wants;
  for (const auto& stored : file.tensors())
    if (!stored.name.starts_with("buffers.") && !stored.name.starts_with("opt.") &&
        !stored.name.starts_with("statistics.")) {
      Shape s;
      for (auto it = stored.shape.rbegin(); it != stored.shape.rend(); ++it)
        s = s.rank() ? s.with_first(*it) : Shape{*it};
      wants.add(stored.name, s, Init::zeros(), {});
    }
  for (const auto& stored : file.tensors())
    if (stored.name.starts_with("buffers.")) wants.add_buffer(stored.name, stored.shape[0], 0, {});
  wants.as_meta(DType::f32);
  CHECK(misfit(file, wants).empty());
  wants.add_buffer("buffers.more", 3, 0, {});
  CHECK(has(misfit(file, wants), "lacks `buffers.more` [3]"));
}
