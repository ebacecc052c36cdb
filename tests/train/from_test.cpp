// A new run with the weights of another.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "support/models.h"
#include "support/run_calls.h"
#include "train/loaded_model.h"

using namespace effllm;
using namespace effllm::test;
namespace fs = std::filesystem;

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

  const auto refused = [&](const Sets& set) { return message_of<CheckpointError>([&] { start(set); }); };
  CHECK(has(refused({"name=x", "model.layers[0].mixer.heads=4"}), "model.layers[0].mixer.heads: 2 -> 4"));
  CHECK(has(refused({"name=x", "model.d_model=32"}), "model.d_model: 16 -> 32"));
  CHECK(has(refused({"name=x", "data.tokenizer=byte"}), "data.tokenizer: char -> byte"));
  spill(t / "text.txt", tiny_text() + "Zebra\n");
  prepare_corpus(t / "text.txt", "zebra", t / "data", 0.8, 0.1, "");
  const std::string vocabulary = refused({"name=x", "data.corpus=" + (t / "data/zebra.yaml").string()});
  CHECK_MESSAGE(has(vocabulary, "has another vocabulary"), vocabulary);
  CHECK_FALSE(fs::exists(t.runs() / "x"));
}
