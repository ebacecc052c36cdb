#include "train/run_changes.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cmath>
#include <numbers>

using namespace effllm;

namespace {

const std::string kBase =
    "name: a\n"
    "model: {d_model: 16, layers: [{mixer: {type: attention, heads: 4, window: 8}}, {mixer: {type: gla, heads: 2}}]}\n"
    "data: {corpus: x, order: shuffled_windows}\n"
    "optim: {lr: 1e-3, schedule: {type: cosine, warmup: 10, final_lr: 0.1}}\n"
    "train: {batch: 4, context: 16, max_steps: 100}\n";

RunConfig config(const std::vector<std::string>& set = {}) {
  ConfigNode root = parse_config(kBase, "c.yaml");
  int index = 0;
  for (const auto& s : set) apply_override(root, s, ++index);
  return read_run_config(root);
}

using Texts = std::vector<std::string>;

Texts texts(const std::vector<ConfigChange>& changes) {
  Texts all;
  for (const auto& c : changes) all.push_back(c.text());
  return all;
}

RunChanges changes(const std::vector<std::string>& set, const std::vector<std::string>& base = {}) {
  std::vector<std::string> all = base;
  all.insert(all.end(), set.begin(), set.end());
  return changes_between(config(base), config(all));
}

}  // namespace

TEST_CASE("run changes: what changes the function is the model's, whatever its shape") {
  for (const auto& [set, text] : std::vector<std::pair<std::string, std::string>>{
           {"model.layers[0].mixer.heads=8", "model.layers[0].mixer.heads: 4 -> 8"},
           {"model.layers[0].mixer.window=6", "model.layers[0].mixer.window: 8 -> 6"},
           {"model.layers[0].mixer.position=none", "model.layers[0].mixer.position: rope -> none"},
           {"model.layers[1].mixer.heads=4", "model.layers[1].mixer.heads: 2 -> 4"},
           {"model.block={norm: layer_norm}", "model.final_norm.type: rms_norm -> layer_norm"},
           {"model.tie_embeddings=false", "model.tie_embeddings: true -> false"},
           {"data.tokenizer=char", "data.tokenizer: byte -> char"},
           {"data.reset=document", "data.reset: none -> document"},
           {"data.order=random_windows", "data.order: shuffled_windows -> random_windows"}}) {
    const RunChanges c = changes({set});
    REQUIRE_MESSAGE(!c.model.empty(), set);
    CHECK(c.model[0].text() == text);
    CHECK(c.place.empty());
    CHECK(c.other.empty());
  }
}

TEST_CASE("run changes: what leaves the function as it is may change, and is listed") {
  CHECK(texts(changes({"optim.lr=2e-3", "train.max_steps=200", "model.dropout=0.1", "model.layers[0].mixer.dropout=0.2",
                       "eval.max_tokens=9", "data.corpus=y", "train.batch=8"})
                  .other) == Texts{"model.dropout: 0.0 -> 0.1", "model.layers[0].mixer.dropout: 0.0 -> 0.2",
                                   "optim.lr: 0.001 -> 0.002", "train.batch: 4 -> 8", "train.max_steps: 100 -> 200",
                                   "eval.max_tokens: 0 -> 9"});
  const Texts drop = {"model.layers[0].type=layer_drop"};
  for (const auto& [set, base] : {std::pair<Texts, Texts>{drop, {}},
                                  {{"~model.layers[0].type"}, drop},
                                  {{"model.layers[0].rate=0.3", "model.layers[0].depth=exp"}, drop}}) {
    CHECK(changes(set, base).model.empty());
    CHECK(changes(set, base).other.size() > 1);
  }
  CHECK(changes({"model.layers[0].type=layer_drop", "model.layers[0].norm=layer_norm"}).model.size() > 0);
  const RunChanges none = changes({"name=b", "optim.lr=0.0010", "optim.schedule={warmup: 10}"});
  CHECK(none.model.empty());
  CHECK(none.place.empty());
  CHECK(none.other.empty());
  CHECK(texts(changes({"~train.max_steps", "train.max_epochs=2"}).other) ==
        Texts{"train.max_steps: 100 -> (not set)", "train.max_epochs: (not set) -> 2.0"});
  CHECK(told(changes({"~train.max_steps", "train.max_epochs=2"}).other).size() == 2);
}

TEST_CASE("run changes: options that only one of two types has are told in one line") {
  const Texts lines = told(changes({"optim.type=muon", "optim.lr=2e-3", "optim.schedule.type=wsd"}).other);
  REQUIRE(lines.size() == 3);
  CHECK(lines[0].starts_with("optim.type: adamw -> muon, with "));
  CHECK(lines[0].ends_with(" options that only one of them has"));
  CHECK(lines[1] == "optim.lr: 0.001 -> 0.002");
  CHECK_MESSAGE(lines[2].starts_with("optim.schedule.type: cosine -> wsd, with "), lines[2]);
}

TEST_CASE("run changes: keys that the place in the data hangs on") {
  CHECK(texts(changes({"train.context=32"}).place) == Texts{"train.context: 16 -> 32"});
  CHECK(texts(changes({"data.seed=2"}).place) == Texts{"data.seed: 1 -> 2"});
  CHECK(texts(changes({"data.order=streams"}).place) == Texts{"data.order: shuffled_windows -> streams"});
  CHECK(changes({"train.batch=8"}).place.empty());
  const Texts streams = {"data.order=streams"}, random = {"data.order=random_windows"};
  CHECK(texts(changes({"train.batch=8", "train.context=32"}, streams).place) ==
        Texts{"train.batch: 4 -> 8", "train.context: 16 -> 32"});
  CHECK(texts(changes({"train.carry_state=true"}, streams).place) == Texts{"train.carry_state: false -> true"});
  CHECK(texts(changes({"data.seed=2"}, streams).other) == Texts{"data.seed: 1 -> 2"});
  CHECK(texts(changes({"data.order=shuffled_windows"}, random).place) ==
        Texts{"data.order: random_windows -> shuffled_windows"});
  CHECK(changes({"train.batch=8", "train.context=32"}, random).place.empty());
  // A task's sample is its number's, whatever the rows.
  CHECK(changes({"train.batch=8", "train.context=64"}, {"data={task: parity}", "train.context=128"}).place.empty());
}

TEST_CASE("run changes: how far learned positions reach is the model's, a context without them is not") {
  CHECK(changes({"train.context=32"}).model.empty());
  const RunChanges c = changes({"train.context=32"}, {"model.positions=learned"});
  REQUIRE(c.model.size() == 1);
  CHECK(c.model[0].text() == "model.max_tokens: 16 -> 32");
}

TEST_CASE("run changes: a reach of positions that the encoder alone learns is the model's too") {
  const Texts encoder = {"objective.type=seq2seq",
                         "model.layers=[{mixer: {type: attention, heads: 4}, cross: attention}]",
                         "model.encoder={positions: learned, layers: [{mixer: {type: attention, heads: 4}}]}"};
  const RunChanges c = changes({"model.max_tokens=32"}, encoder);
  CHECK(texts(c.model) == Texts{"model.max_tokens: 16 -> 32"});
  CHECK(c.other.empty());
}

TEST_CASE("run changes: a horizon that moves curricula is told with both places") {
  const Spent spent{.steps = 50, .tokens = 0, .epochs = 0, .flops = 0, .seconds = 0};
  const Texts drop = {"model.layers[0].type=layer_drop", "model.layers[0].curriculum=exponential"};
  const auto jump = [&](Texts base, const char* more) {
    const RunConfig before = config(base);
    base.emplace_back(more);
    return curriculum_jump(before, config(base), spent);
  };
  CHECK(jump(drop, "train.max_steps=200") ==
        "the horizon is another: at step 50 model.layers[0].curriculum is at 25 % of the run instead of 50 %");
  CHECK(jump(drop, "train.log_every=3").empty());
  CHECK(jump({}, "train.max_steps=200").empty());
  const Texts exits = {"model.layers=[{repeat: 3, of: [{mixer: gla}]}]",
                       "objective.early_exit={scale: 0.5, curriculum: gradual}"};
  CHECK(jump(exits, "train.max_steps=50") ==
        "the horizon is another: at step 50 objective.early_exit.curriculum is at 100 % of the run instead of 50 %");
  CHECK(jump({exits[0], "objective.early_exit={scale: 0.5, curriculum: rotational}"}, "train.max_steps=200").empty());
  const Texts both = {"model.block={type: layer_drop, curriculum: exponential}", exits[1]};
  CHECK(jump({exits[0], both[0], both[1]}, "train.max_steps=200") ==
        "the horizon is another: at step 50 model.layers[0].curriculum and 3 more are at 25 % of the run instead of 50 "
        "%");
}

TEST_CASE("run changes: a jump of the learning rate is told with its factor") {
  const Spent spent{.steps = 55, .tokens = 0, .epochs = 0, .flops = 0, .seconds = 0};
  // Half way between the end of warm-up (10) and the horizon: 0.1 + 0.9 / 2.
  CHECK(lr_jump(config(), config({"optim.lr=2e-3"}), spent) ==
        "the learning rate of step 55 is 0.0011 instead of 0.00055, 2 times as much");
  CHECK(lr_jump(config(), config({"optim.lr=1.005e-3"}), spent).empty());
  CHECK(lr_jump(config(), config({"train.log_every=3"}), spent).empty());
  CHECK(lr_jump(config({"optim.lr=0"}), config(), spent) == "the learning rate of step 55 is 0.00055 instead of 0");
  // A longer horizon: cosine at (55 - 10) / (200 - 10).
  const double longer = 1e-3 * (0.1 + 0.9 * 0.5 * (1 + std::cos(std::numbers::pi * 45 / 190)));
  CHECK(lr_jump(config(), config({"train.max_steps=200"}), spent) ==
        fmt::format("the learning rate of step 55 is {:.4g} instead of 0.00055, {:.3g} times as much", longer,
                    longer / 0.00055));
}
