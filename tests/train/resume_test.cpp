// A run that goes on unchanged is the same run, to the bit, and goes on at its place in the data.
#include <doctest/doctest.h>

#include "checkpoint/checkpoint.h"
#include "support/models.h"
#include "support/mutate.h"
#include "support/run_calls.h"
#include "train/loaded_model.h"

using namespace effllm;
using namespace effllm::test;
namespace fs = std::filesystem;

namespace {

const Sets kStill = {"optim.lr=0", "optim.weight_decay=0", "train.log_every=1", "train.save_every=0"};

}  // namespace

TEST_CASE("resume: after another batch size the next windows come, none left out and none twice") {
  const Threads one(1);
  const TinyFolder t("resume_place");
  for (const char* order : {"shuffled_windows", "random_windows"}) {
    CAPTURE(order);
    const Sets still = with(kStill, {std::string("data.order=") + order});
    const auto name = [&](const char* s) { return std::string("name=") + order + s; };
    const std::vector<double> single =
        losses(train(t, with(still, {"train.batch=1", "train.max_steps=40", name("single")})).folder);
    REQUIRE(single.size() == 40);
    // Ten steps of one window, ten of two, then two steps of five.
    train(t, with(still, {"train.batch=1", "train.max_steps=10", name("")}));
    train(t, with(still, {"train.batch=2", "train.max_steps=20", name("")}), true);
    const std::vector<double> parts =
        losses(train(t, with(still, {"train.batch=5", "train.max_steps=22", name("")}), true).folder);
    REQUIRE(parts.size() == 22);
    for (size_t i = 0; i < 10; ++i) CHECK(parts[i] == single[i]);
    for (size_t i = 0; i < 10; ++i)
      CHECK(parts[10 + i] == doctest::Approx((single[10 + 2 * i] + single[11 + 2 * i]) / 2).epsilon(1e-6));
    for (size_t i = 0; i < 2; ++i) {
      double mean = 0;
      for (size_t k = 0; k < 5; ++k) mean += single[30 + 5 * i + k] / 5;
      CHECK(parts[20 + i] == doctest::Approx(mean).epsilon(1e-6));
    }
  }
}

TEST_CASE(
    "resume: with every optimizer and objective, a run that was stopped and goes on has the bits of one that was not") {
  const Threads one(1);
  Sets every;
  for (const OptimizerInfo* o : all_optimizers) every.push_back("optim.type=" + std::string(o->name));
  every.push_back("optim={type: muon, normuon: true, cautious_decay: true}");
  for (const ObjectiveInfo* o : all_objectives) every.push_back("objective.type=" + std::string(o->name));
  for (const std::string& set : every) {
    CAPTURE(set);
    Sets same = {set, "optim.schedule={type: constant}", "train.log_every=1"};
    if (set == "objective.type=masked_diffusion")
      same.push_back("model.layers=[{mixer: {type: bidirectional, of: min_gru}}]");
    else if (set.find("_diffusion") != set.npos || set.find("_lm") != set.npos)
      same.push_back("model.layers=[{mixer: {type: attention, heads: 2}}]");
    if (set == "objective.type=seq2seq" || set == "objective.type=span_corruption")
      same.insert(same.end(), {"model.encoder={layers: [{mixer: {type: attention, heads: 2}}]}",
                               "model.block.cross={type: attention, heads: 2}"});
    const TinyFolder t("resume_every");
    const RunFolder whole(train(t, with(same, {"name=whole", "train.max_steps=30"})).folder);
    const RunFolder part(train(t, with(same, {"name=part", "train.max_steps=13"})).folder);
    train(t, with(same, {"name=part", "train.max_steps=30"}), true);
    CHECK(hash_of(part.checkpoint(30)) == hash_of(whole.checkpoint(30)));
    CHECK(losses(part.path()) == losses(whole.path()));
  }
}

TEST_CASE("resume: a checkpoint of format version 1 goes on to the bit") {
  const Threads one(1);
  const Sets of_its_day = {"model.layers[1].mixer.norm_eps=1e-5"};  // a default that version 2 changed
  for (const Sets& some : {Sets{}, Sets{"data.order=random_windows", "model.dropout=0.1"}}) {
    const Sets more = with(of_its_day, some);
    const TinyFolder t("resume_version_1");
    const RunFolder whole(train(t, with(more, {"name=whole"})).folder);
    const RunFolder part(train(t, with(more, {"name=part"})).folder);
    fs::remove(part.checkpoint(100));
    fs::remove(part.best());
    copy_with_metadata(part.checkpoint(80), part.checkpoint(80), [](MetadataMap& m) {
      m["format_version"] = "1";
      for (const char* key : {"samples", "first_batch", "defaults_version", "earlier_data", "data_splits",
                              "data_train_end", "data_val_end", "data_separator"})
        m.erase(key);
    });
    train(t, with(more, {"name=part"}), true);
    CHECK(hash_of(part.checkpoint(100)) == hash_of(whole.checkpoint(100)));
    CHECK(losses(part.path()) == losses(whole.path()));
    CHECK_FALSE(has(events(part.path()), "changed:"));
  }
}

TEST_CASE(
    "resume: where layers choose tokens or experts, a run that was stopped has the bits, and exports are the model") {
  const Threads one(1);
  for (const char* chooses :
       {"model.block={type: mod, capacity: 0.5, ffn: swiglu}", "model.block={type: mod, capacity: 0.5, causal: aux}",
        "model.block={type: mor, recursions: 2, capacities: [1, 0.5], ffn: swiglu}",
        "model.block={type: mor, recursions: 2, routing: token}",
        "model.block.ffn={type: moe_expert_choice, experts: 4, factor: 2, expand: 1}",
        "model.block.ffn={type: peer, keys: 4, heads: 2, top_k: 3, key_dim: 6}"}) {
    CAPTURE(chooses);
    const Sets same = {chooses, "model.layers=[{mixer: min_gru}, {mixer: {type: attention, heads: 2}}]",
                       "optim.schedule={type: constant}", "train.log_every=1"};
    const TinyFolder t("resume_choices");
    const RunFolder whole(train(t, with(same, {"name=whole", "train.max_steps=24"})).folder);
    const RunFolder part(train(t, with(same, {"name=part", "train.max_steps=11"})).folder);
    train(t, with(same, {"name=part", "train.max_steps=24"}), true);
    CHECK(hash_of(part.checkpoint(24)) == hash_of(whole.checkpoint(24)));
    CHECK(losses(part.path()) == losses(whole.path()));
    const LoadedModel trained = load_model(whole.checkpoint(24));
    export_model(trained, t / "out");
    const LoadedModel exported = load_model(t / "out/model.safetensors");
    const Tensor ids = random_ids(2, 16, trained.model->vocab(), 1);
    CHECK(same_bits(exported.model->logits(ids, {}), trained.model->logits(ids, {})));
    size_t moved = 0;  // thresholds of experts that choose, which decide outside training
    for (const ModelBuffer& b : trained.model->params().buffers()) {
      if (!b.name.starts_with("buffers.")) continue;
      const ModelBuffer* there = exported.model->params().find_buffer(b.name);
      REQUIRE_MESSAGE(there, b.name);
      CHECK(same_bits(there->value, b.value));
      moved += at(b.value, 0, 0) != 0.25;
    }
    CHECK((moved == 2) == has(chooses, "expert_choice"));
  }
}
