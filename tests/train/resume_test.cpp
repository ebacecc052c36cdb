// A run that goes on is the same run: its model, its place in the data; what was changed is refused or told.
#include <doctest/doctest.h>

#include <cmath>

#include "base/json.h"
#include "io/checkpoint.h"
#include "support/models.h"
#include "support/mutate.h"
#include "support/run_calls.h"
#include "train/loaded_model.h"

using namespace effllm;
using namespace effllm::test;
namespace fs = std::filesystem;

namespace {

// What a resumption under these settings is refused with; empty where it is not.
std::string refusal(const TinyFolder& t, const Sets& set) {
  try {
    train(t, set, true);
    return "";
  } catch (const CheckpointError& e) {
    return e.what();
  }
}

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

TEST_CASE("resume: with every optimizer, a run that was stopped and goes on has the bits of one that was not") {
  const Threads one(1);
  for (const OptimizerInfo* o : all_optimizers()) {
    CAPTURE(o->name);
    const Sets same = {"optim.type=" + std::string(o->name), "optim.schedule={type: constant}", "train.log_every=1"};
    const TinyFolder t("resume_optimizer");
    const RunFolder whole(train(t, with(same, {"name=whole", "train.max_steps=30"})).folder);
    const RunFolder part(train(t, with(same, {"name=part", "train.max_steps=13"})).folder);
    train(t, with(same, {"name=part", "train.max_steps=30"}), true);
    CHECK(hash_of(part.checkpoint(30)) == hash_of(whole.checkpoint(30)));
    CHECK(losses(part.path()) == losses(whole.path()));
  }
}

TEST_CASE("resume: another optimizer is told, and begins as in a new run") {
  const Threads one(1);
  const TinyFolder t("resume_other_optimizer");
  train(t, {"train.max_steps=10"});
  const RunFolder run(train(t, {"train.max_steps=20", "optim.type=muon"}, true).folder);
  const std::string said = events(run.path());
  CHECK(has(said, "changed: optim.type: adamw -> muon"));
  CHECK(has(said, "changed: optim.momentum: (not set) -> 0.95"));
  CHECK(has(said, "another optimizer from here on: it begins with nothing remembered"));
  const SafetensorsFile file(run.checkpoint(20));
  CHECK(file.metadata().at("optimizer_steps") == "10");
  CHECK(file.find("opt.momentum.layers.0.mixer.out.weight"));
  CHECK_FALSE(file.find("opt.m.layers.0.mixer.out.weight"));
  CHECK(file.find("opt.v.embedding.weight"));
  // The same from the checkpoint's weights: nothing of AdamW's moments is left.
  train(t, {"train.max_steps=30", "optim.type=muon"}, true);
  CHECK_FALSE(has(events(run.path()).substr(said.size()), "another optimizer"));
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

TEST_CASE("resume: rows that can't go on are refused with the keys that they hang on") {
  const Threads one(1);
  const TinyFolder t("resume_rows");
  const Sets streams = {"data.order=streams", "train.carry_state=true", "model.layers[0].mixer.window=5",
                        "train.max_steps=10"};
  train(t, with(streams, {"name=streams"}));
  const auto again = [&](const Sets& set) { return refusal(t, with(with(streams, {"name=streams"}), set)); };
  CHECK(has(again({"train.context=8"}), "can't go on under the configuration:\n  train.context: 16 -> 8\n"));
  CHECK(has(again({"train.batch=2", "train.context=32"}), "\n  train.batch: 4 -> 2\n  train.context: 16 -> 32\n"));
  CHECK(has(again({"data.order=shuffled_windows", "train.carry_state=false"}),
            "data.order: streams -> shuffled_windows"));
  CHECK(again({"train.max_steps=11"}).empty());
  train(t, {"name=windows", "train.max_steps=10"});
  CHECK(has(refusal(t, {"name=windows", "train.context=8"}), "train.context: 16 -> 8"));
  CHECK(has(refusal(t, {"name=windows", "data.seed=2"}), "data.seed: 1 -> 2"));
  CHECK(has(refusal(t, {"name=windows", "data.seed=2"}), "--from"));
}

TEST_CASE("resume: what changes the function but no shape is refused key by key, who allows it begins a new best") {
  const Threads one(1);
  const TinyFolder t("resume_model");
  const RunOutcome first = train(t, {"model.layers[0].mixer.window=8"});
  const Sets same = {"model.layers[0].mixer.window=8"};
  for (const auto& [set, text] : std::vector<std::pair<std::string, std::string>>{
           {"model.layers[0].mixer.heads=4", "model.layers[0].mixer.heads: 2 -> 4"},
           {"model.layers[0].mixer.position=none", "model.layers[0].mixer.position: rope -> none"},
           {"model.layers[0].mixer.window=4", "model.layers[0].mixer.window: 8 -> 4"},
           {"model.layers[0].mixer.rope_theta=500", "model.layers[0].mixer.rope_theta: 10000.0 -> 500.0"},
           {"data.reset=document", "data.reset: none -> document"}}) {
    const std::string message = refusal(t, with(same, {set}));
    INFO(message);
    CHECK(has(message, text));
    CHECK(has(message, "--allow-model-change"));
  }
  RunRequest other =
      request(t, with(same, {"model.layers[0].mixer.heads=4", "train.max_steps=110", "optim.lr=1"}), true);
  other.allow_other_model = true;
  Run(RunRequest(other));  // until it has a checkpoint of its own, the best stays what it was
  CHECK(load_model(first.folder).step == 100);
  const RunOutcome changed = Run(std::move(other)).train();
  CHECK(changed.best_val > first.best_val);
  CHECK(nlohmann::json::parse(slurp(first.folder / "status.json"))["train_loss"] > 1.5);
  CHECK(has(events(first.folder), "warning: another model from here on: model.layers[0].mixer.heads: 2 -> 4"));
  CHECK(has(slurp(first.folder / "log.txt"), "evaluated from now on as another model: the best loss starts anew"));
  CHECK(load_model(first.folder / "ckpt/best_until_000000100.safetensors").step == 100);
  CHECK(load_model(first.folder).step == 110);
  // It is the run's model now.
  CHECK(refusal(t, with(same, {"model.layers[0].mixer.heads=4", "train.max_steps=110"})).empty());
  CHECK(has(refusal(t, same), "heads: 4 -> 2"));
}

TEST_CASE(
    "resume: on other data, which somebody allows, the best begins anew and the old one keeps a name of its own") {
  const Threads one(1);
  const TinyFolder t("resume_data");
  const RunOutcome first = train(t);
  const std::string best = hash_of(first.folder / "ckpt/best.safetensors");
  fs::remove_all(t / "data");
  prepare_corpus(t / "text.txt", "tiny", t / "data", 0.6, 0.3, "\n\n");  // its splits end elsewhere
  const Sets longer = {"train.max_steps=110", "optim.lr=1"};
  CHECK_THROWS_AS(train(t, longer, true), DataError);
  RunRequest other = request(t, longer, true);
  other.allow_other_data = true;
  const RunOutcome changed = Run(std::move(other)).train();
  CHECK(changed.best_val > first.best_val);  // lr 1: the old best would have stayed
  CHECK(load_model(first.folder).step == 110);
  const fs::path kept = first.folder / "ckpt/best_until_000000100.safetensors";
  REQUIRE(fs::exists(kept));
  CHECK(hash_of(kept) == best);
  const std::string log = slurp(first.folder / "log.txt");
  CHECK(has(log, "evaluated from now on on other data: the best loss starts anew"));
  CHECK(has(log, "best_until_000000100.safetensors keeps the best of the run before the change"));
  // Smoothed over losses on the new data alone.
  CHECK(nlohmann::json::parse(slurp(first.folder / "status.json"))["train_loss"] > 1.5);
}

TEST_CASE("resume: other changes are told with both values and kept, a jump of the learning rate with its factor") {
  const Threads one(1);
  const TinyFolder t("resume_told");
  const RunOutcome first = train(t, {"optim.schedule={type: constant, warmup: 10}"});
  CHECK_FALSE(has(events(first.folder), "changed:"));
  train(t, {"optim.schedule={type: constant, warmup: 10}", "optim.lr=0.03", "train.max_steps=105", "model.dropout=0.1"},
        true);
  const std::string kept = events(first.folder);
  INFO(kept);
  for (const char* text : {"info: changed: model.dropout: 0.0 -> 0.1\n", "info: changed: optim.lr: 0.01 -> 0.03\n",
                           "info: changed: train.max_steps: 100 -> 105\n",
                           "info: the learning rate of step 100 is 0.03 instead of 0.01, 3 times as much\n"})
    CHECK(has(kept, text));
}

TEST_CASE("from: a new run starts with the weights of another, with nothing else of it, and says whose they are") {
  const Threads one(1);
  const TinyFolder t("from");
  const RunOutcome source = train(t, {"name=source"});
  const auto start = [&](const Sets& set, bool resume = false) {
    RunRequest r = request(t, set, resume);
    r.from = source.folder;
    return Run(std::move(r)).train();
  };
  const RunOutcome tuned = start({"name=tuned", "optim.lr=0", "optim.weight_decay=0", "train.max_steps=3",
                                  "train.batch=2", "data.seed=7", "optim.schedule={warmup: 0}"});
  CHECK(tuned.steps == 3);
  CHECK(tuned.tokens == 3 * 2 * 16);
  CHECK(tuned.best_val == source.best_val);  // lr 0: the same weights
  CHECK(hash_of(tuned.folder / "ckpt/best.safetensors") == hash_of(source.folder / "ckpt/best.safetensors"));
  const auto origin = [&](const fs::path& run) {
    return nlohmann::json::parse(slurp(run / "provenance.json")).at("from");
  };
  CHECK(origin(tuned.folder).at("step") == 100);
  CHECK(origin(tuned.folder).at("checkpoint") == (source.folder / "ckpt/best.safetensors").string());
  CHECK(origin(tuned.folder).at("parameters_sha256") == hash_of(source.folder / "ckpt/best.safetensors"));
  CHECK(load_model(tuned.folder).origin->step == 100);
  CHECK(has(events(tuned.folder), "starts with the weights of"));

  // Resumed, it goes on from its own checkpoint, and its origin is not forgotten.
  const RunOutcome resumed = start({"name=tuned", "train.max_steps=6", "train.batch=2", "data.seed=7"}, true);
  CHECK(resumed.steps == 6);
  CHECK(origin(tuned.folder).at("step") == 100);
  CHECK(has(events(tuned.folder), "--from does nothing"));
  CHECK(load_model(tuned.folder).origin->step == 100);

  const auto refused = [&](const Sets& set) {
    try {
      start(set);
      return std::string();
    } catch (const CheckpointError& e) {
      return std::string(e.what());
    }
  };
  CHECK(has(refused({"name=x", "model.layers[0].mixer.heads=4"}), "model.layers[0].mixer.heads: 2 -> 4"));
  CHECK(has(refused({"name=x", "model.d_model=32"}), "model.d_model: 16 -> 32"));
  CHECK(has(refused({"name=x", "data.tokenizer=byte"}), "data.tokenizer: char -> byte"));
  spill(t / "text.txt", tiny_text() + "Zebra\n");
  prepare_corpus(t / "text.txt", "zebra", t / "data", 0.8, 0.1, "");
  const std::string vocabulary = refused({"name=x", "data.corpus=" + (t / "data/zebra.yaml").string()});
  CHECK_MESSAGE(has(vocabulary, "has another vocabulary"), vocabulary);
  CHECK_FALSE(fs::exists(t.runs() / "x"));
}
