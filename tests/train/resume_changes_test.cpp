// What was changed before a run goes on is refused, or told with both values.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "checkpoint/checkpoint.h"
#include "support/models.h"
#include "support/run_calls.h"
#include "train/loaded_model.h"

using namespace effllm;
using namespace effllm::test;
namespace fs = std::filesystem;

namespace {

// What a resumption under these settings is refused with; empty where it is not.
std::string refusal(const TinyFolder& t, const Sets& set) {
  return message_of<CheckpointError>([&] { train(t, set, true); });
}

}  // namespace

TEST_CASE("resume: another optimizer is told, and begins as in a new run") {
  const Threads one(1);
  const TinyFolder t("resume_other_optimizer");
  train(t, {"train.max_steps=10"});
  const RunFolder run(train(t, {"train.max_steps=20", "optim.type=muon"}, true).folder);
  const std::string said = events(run.path());
  CHECK(has(said, "changed: optim.type: adamw -> muon"));
  CHECK_FALSE(has(said, "(not set)"));  // options that only one of them has are one line
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

TEST_CASE("resume: a run that is at its horizon, or beyond it, writes its sample once") {
  const Threads one(1);
  const TinyFolder t("resume_sample");
  const RunFolder run(train(t, {"train.max_steps=10"}).folder);
  const fs::path sample = run.samples() / "step_000000010.txt";
  REQUIRE(fs::exists(sample));
  spill(sample, "mine");
  train(t, {"train.max_steps=5"}, true);
  CHECK(has(slurp(run.path() / "log.txt"), "nothing to train: step 10 is at the run's horizon or beyond it"));
  CHECK(slurp(sample) == "mine");
  fs::remove(sample);  // as if it had been killed before
  train(t, {"train.max_steps=10"}, true);
  CHECK(slurp(sample).size() > 12);
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
  const Sets streams = {"name=streams", "data.order=streams", "train.carry_state=true",
                        "model.layers[0].mixer.window=5", "train.max_steps=4"};
  train(t, streams);
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
  RunRequest carries = request(t, streams, true);
  carries.allow_other_data = true;
  Run(std::move(carries)).train();
  CHECK(has(slurp(t.runs() / "streams/log.txt"), "what rows remember is of the run before the change"));
  // Smoothed over losses on the new data alone.
  CHECK(nlohmann::json::parse(slurp(first.folder / "status.json"))["train_loss"] > 1.5);
}

TEST_CASE("resume: curricula that a longer horizon sets back are told") {
  const Threads one(1);
  const TinyFolder t("resume_curricula");
  const Sets same = {"objective.early_exit={scale: 0.5, curriculum: gradual}"};
  const RunOutcome first = train(t, with(same, {"train.max_steps=10"}));
  train(t, with(same, {"train.max_steps=40"}), true);
  CHECK(has(events(first.folder),
            "info: the horizon is another: at step 10 objective.early_exit.curriculum is at 25 % "
            "of the run instead of 100 %\n"));
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
