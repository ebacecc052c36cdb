// A trained model is made larger: the same function where that is promised, old weights and moments first, and training
// goes on.
#include "train/grow.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "support/models.h"
#include "support/run_calls.h"
#include "train/loaded_model.h"

using namespace effllm;
using namespace effllm::test;
namespace fs = std::filesystem;

namespace {

constexpr std::string_view kConfig = R"(model:
  d_model: 16
  layers:
    - id: first
      mixer: {type: attention, heads: 2, projection: {type: pattention, tokens: 5}}
      ffn: {type: pattention, tokens: 9}
    - mixer: {type: parallel, branches: [{type: min_gru}, {type: attention, heads: 2, projection: pattention}]}
    - {use: first}
data: {corpus: data/tiny.yaml, tokenizer: char}
optim: {lr: 1e-2, schedule: {warmup: 2}}
train: {batch: 4, context: 16, max_steps: 20, log_every: 5, eval_every: 10}
eval: {max_tokens: 400, sample_tokens: 12, prompt: the}
)";

const Sets kMore = {"model.layers[0].ffn.tokens=14", "model.layers[0].mixer.projection.tokens=6",
                    "model.layers[1].mixer.branches[1].projection.tokens=19"};

Tensor stored(const fs::path& checkpoint, const std::string& name) {
  const SafetensorsFile file(checkpoint);
  const StoredTensor* t = file.find(name);
  REQUIRE_MESSAGE(t, name);
  const Tensor value = Tensor::empty({t->shape[0], t->shape[1]}, DType::f32);
  load_tensor(file, checkpoint.string(), name, value);
  return value;
}

// Where the scale follows the number of tokens, as in the authors' code, as a part of the largest logit.
double change_without_scale(const GrownRun& g) {
  const LoadedModel before = load_model(g.from, DType::f64);
  LoadedModel after = load_model(g.checkpoint, DType::f64);
  ConfigNode root = write_run_config(after.config);
  for (const char* place : {"[0].ffn", "[0].mixer.projection", "[1].mixer.branches[1].projection"})
    apply_override(root, std::string("~model.layers") + place + ".scale_tokens", 1);
  LanguageModel anew(read_run_config(root).model, after.model->vocab());
  anew.params().materialize(1, DType::f64);
  load_parameters(SafetensorsFile(g.checkpoint), "grown", anew.params());
  const Tensor ids = random_ids(2, 12, after.model->vocab(), 1);
  return max_diff(anew.logits(ids, {}), before.model->logits(ids, {})) / max_abs(before.model->logits(ids, {}));
}

}  // namespace

TEST_CASE("grow: the function is kept by all nonlinearities but softmax, and only with the scale of before") {
  const Threads one(1);
  const TinyFolder t("grow_function", kConfig);
  for (const char* kind : {"l2_norm_gelu", "gelu_l2_norm", "scaled_gelu", "gelu", "scaled_softmax", "softmax"}) {
    CAPTURE(kind);
    const std::string name(kind), set = ".nonlinearity=" + name;
    const RunOutcome run = train(
        t, {"name=" + name, "train.max_steps=3", "model.layers[0].ffn" + set, "model.layers[0].mixer.projection" + set,
            "model.layers[1].mixer.branches[1].projection={type: pattention, nonlinearity: " + name + "}"});
    const GrownRun g = grow(run.folder, kMore, t.runs() / (name + "_grown"));
    const FunctionChange f = function_change(g.from, g.checkpoint);
    const bool softmax = name.ends_with("softmax"), scaled = !softmax && name != "gelu";
    CHECK(f.tokens == 16);
    CHECK(f.logits > 0.01);
    if (softmax) {
      CHECK(f.largest > 1e-4 * f.logits);
      CHECK(*f.loss_after != *f.loss_before);
      CHECK(g.other_function == std::vector<std::string>{"model.layers[0].mixer.projection (" + name + ")",
                                                         "model.layers[0].ffn (" + name + ")",
                                                         "model.layers[1].mixer.branches[1].projection (" + name + ")",
                                                         "model.layers[2].mixer.projection (" + name + ")",
                                                         "model.layers[2].ffn (" + name + ")"});
    } else {
      CHECK(f.largest <= 1e-12 * f.logits);
      CHECK(*f.loss_after == doctest::Approx(*f.loss_before).epsilon(1e-12));
      CHECK(g.other_function.empty());
    }
    if (scaled) CHECK(change_without_scale(g) > 1e-4);
    CHECK(g.changes.size() == (scaled ? 6 : 3));
    CHECK(g.parameters - g.parameters_before == 5 * 32 + 4 * 32 + 3 * 4 * 32);
  }
}

TEST_CASE("grow: old tokens and moments come first, new keys and moments are zero, new values start as ever") {
  const Threads one(1);
  const TinyFolder t("grow_weights", kConfig);
  const RunOutcome run = train(t);
  const GrownRun g = grow(run.folder, kMore, t.runs() / "grown");
  LanguageModel fresh(load_model(g.checkpoint).config.model, load_model(g.checkpoint).model->vocab());
  fresh.params().materialize(1, DType::f32);
  for (const char* slot : {"", "opt.m.", "opt.v."}) {
    const std::string prefix = std::string(slot) + "layers.0.ffn.";
    const Tensor keys = stored(g.from, prefix + "keys.weight"), more = stored(g.checkpoint, prefix + "keys.weight"),
                 values = stored(g.from, prefix + "values.weight"),
                 wide = stored(g.checkpoint, prefix + "values.weight");
    CHECK(same_bits(more.row_range(0, {9, 16}), keys));
    CHECK(max_abs(keys) > 0);
    CHECK(max_abs(more.row_range(9, {5, 16})) == 0);
    CHECK(same_bits(wide.columns(0, 9), values));
    const Tensor started = fresh.params().find("layers.0.ffn.values.weight")->value.columns(9, 5);
    CHECK(same_bits(wide.columns(9, 5), *slot ? Tensor::zeros({16, 5}, DType::f32) : started));
  }
  for (const char* name : {"embedding.weight", "opt.m.embedding.weight", "layers.1.mixer.branches.1.out.keys.weight"})
    if (const Tensor before = stored(g.from, name); std::string(name).find("branches") == std::string::npos)
      CHECK(same_bits(stored(g.checkpoint, name), before));
    else
      CHECK(stored(g.checkpoint, name).rows() == before.rows() + 3);
}

TEST_CASE("grow: what NorMuon keeps of rows grows with them, and training goes on") {
  const Threads one(1);
  const TinyFolder t("grow_rows", kConfig);
  const Sets muon = {"optim.type=muon", "optim.normuon=true"};
  const RunOutcome run = train(t, muon);
  const GrownRun g = grow(run.folder, kMore, t.runs() / "grown");
  const auto rows = [](const fs::path& checkpoint) {
    const SafetensorsFile file(checkpoint);
    const StoredTensor* slot = file.find("opt.v_rows.layers.0.ffn.keys.weight");
    REQUIRE(slot);
    const Tensor value = Tensor::empty({slot->shape[0]}, DType::f32);
    load_tensor(file, checkpoint.string(), slot->name, value);
    return std::vector<float>(value.data<float>(), value.data<float>() + value.numel());
  };
  const std::vector<float> before = rows(g.from), after = rows(g.checkpoint);
  REQUIRE(before.size() == 9);
  REQUIRE(after.size() == 14);
  CHECK(before[0] > 0);
  CHECK(std::equal(before.begin(), before.end(), after.begin()));
  CHECK(std::all_of(after.begin() + 9, after.end(), [](float v) { return v == 0; }));
  RunRequest r{.config = read_run_config(load_config(t.runs() / "grown/config.yaml"), t.runs() / "grown/config.yaml"),
               .written = {.text = slurp(t.runs() / "grown/config.yaml")},
               .runs = t.runs(),
               .resume = true,
               .quiet = true};
  r.config.train.max_steps = 30;
  CHECK(Run(std::move(r)).train().steps == 30);
}

TEST_CASE("grow: training goes on from it, with its counters and history, and it can grow again") {
  const Threads one(1);
  const TinyFolder t("grow_train", kConfig);
  const RunOutcome run = train(t, {"name=small"});
  const fs::path folder = t.runs() / "big";
  const GrownRun g = grow(run.folder, {"model.layers[0].ffn.tokens=14"}, folder);
  CHECK(g.step == 20);
  RunRequest r{.config = read_run_config(load_config(folder / "config.yaml"), folder / "config.yaml"),
               .written = {.text = slurp(folder / "config.yaml")},
               .runs = t.runs(),
               .resume = true,
               .quiet = true};
  r.config.train.max_steps = 40;
  const RunOutcome on = Run(std::move(r)).train();
  CHECK(on.steps == 40);
  CHECK(on.tokens == 2 * run.tokens);
  CHECK(on.best_val < run.best_val);
  CHECK(losses(folder).front() < losses(run.folder).front());
  const std::string journal = slurp(folder / "metrics.jsonl");
  CHECK(journal.starts_with("{\"type\":\"header\""));
  CHECK_FALSE(has(journal, "\"type\":\"resume\""));
  CHECK(has(events(folder), "the model grew at step 20, from "));
  CHECK(has(nlohmann::json::parse(slurp(folder / "provenance.json")).at("grown").get<std::string>(),
            "model.layers[0].ffn.tokens: 9 -> 14"));

  const GrownRun again = grow(folder, {"model.layers[*].ffn.tokens=20"}, t.runs() / "bigger/");
  const LoadedModel m = load_model(t.runs() / "bigger");
  CHECK(m.counters->step == m.step);
  CHECK(m.counters->best_step == -1);
  CHECK(m.config.name == "bigger");
  CHECK(has(m.grown, "parameters " + hash_of(g.from)));
  CHECK(has(m.grown, "parameters " + hash_of(again.from)));
  CHECK(std::ranges::count(m.grown, '\n') == 2);
  CHECK(again.changes.size() == 1);  // the scale stays that of 9 tokens
  CHECK(function_change(g.from, again.checkpoint).largest > 0);
  const FunctionChange f = function_change(again.from, again.checkpoint);
  CHECK(f.largest <= 1e-12 * f.logits);
}

TEST_CASE("grow: weights alone grow too, without a text random tokens compare, states and buffers are carried on") {
  const Threads one(1);
  const TinyFolder t("grow_more", kConfig);
  const RunOutcome run =
      train(t, {"name=carried", "model.layers[0].mixer.window=4", "model.layers[1].mixer.branches[1].window=4",
                "train.max_steps=4", "train.carry_state=true",
                "model.layers[1].ffn={type: moe, experts: 3, top_k: 1, topk_norm: false, bias_rate: 0.1}",
                "data.order=streams", "train.batch=2"});
  const GrownRun g = grow(run.folder, kMore, t.runs() / "grown");
  size_t states = 0;
  const SafetensorsFile file(g.checkpoint);
  for (const StoredTensor& s : file.tensors()) states += s.name.starts_with("state.");
  CHECK(states > 0);
  const LoadedModel before = load_model(g.from), after = load_model(g.checkpoint);
  REQUIRE(after.model->params().buffers().size() > 0);
  for (const ModelBuffer& b : after.model->params().buffers())
    CHECK(same_bits(b.value, before.model->params().find_buffer(b.name)->value));
  CHECK(max_abs(after.model->params().find_buffer("buffers.layers.1.ffn.router.bias")->value) > 0);
  export_model(load_model(run.folder), t / "out");
  const GrownRun alone = grow(t / "out/model.safetensors", kMore, t.runs() / "alone");
  CHECK_FALSE(load_model(alone.checkpoint).counters);
  fs::remove_all(t / "data");
  const FunctionChange f = function_change(alone.from, alone.checkpoint);
  CHECK_FALSE(f.loss_before);
  CHECK_FALSE(f.text);
  CHECK(f.tokens == 16);
  CHECK(f.largest <= 1e-12 * f.logits);
}

TEST_CASE("grow: of a model of blocks logits compare, and no loss of the next token, which it never learns") {
  const Threads one(1);
  const TinyFolder t("grow_blocks", kConfig);
  const RunOutcome run =
      train(t, {"objective.type=block_diffusion", "train.max_steps=2", "eval.sample_tokens=0",
                "model.layers=[{mixer: {type: attention, heads: 2}, ffn: {type: pattention, tokens: 9}}]"});
  const GrownRun g = grow(run.folder, {"model.layers[0].ffn.tokens=14"}, t.runs() / "grown");
  const FunctionChange f = function_change(g.from, g.checkpoint);
  CHECK(f.text);
  CHECK(f.tokens == 16);
  CHECK_FALSE(f.loss_before);
  CHECK(f.logits > 0.01);
  CHECK(f.largest <= 1e-12 * f.logits);
}

TEST_CASE("grow: refuses what is no growth by file and key, and leaves nothing behind") {
  const Threads one(1);
  const TinyFolder t("grow_errors", kConfig);
  const RunOutcome run = train(t, {"train.max_steps=2"});
  const auto refused = [&](const Sets& set) {
    return message_of<ConfigError>([&] { grow(run.folder, set, t.runs() / "x"); });
  };
  const auto file = [&](const std::string& what) {
    return (run.folder / "ckpt/best.safetensors").string() + ": " + what;
  };
  CHECK(
      has(refused({"model.layers[0].ffn.tokens=8"}), file("model.layers[0].ffn.tokens: 9 -> 8: tokens can be added")));
  CHECK(has(refused({"model.layers[1].mixer.branches[1].projection.tokens=3"}),
            file("model.layers[1].mixer.branches[1].projection.tokens: 16 -> 3")));
  for (const auto& [set, change] :
       {std::pair{"model.d_model=32", "model.d_model: 16 -> 32"},
        {"model.layers[0].ffn.nonlinearity=gelu", "model.layers[0].ffn.nonlinearity: l2_norm_gelu -> gelu"},
        {"model.layers[0].ffn.scale_tokens=14", "model.layers[0].ffn.scale_tokens: (not set) -> 14"},
        {"model.layers[0].ffn=mlp", "model.layers[0].ffn.type: pattention -> mlp"},
        {"train.batch=8", "train.batch: 4 -> 8"}})
    CHECK(has(refused({"model.layers[0].ffn.tokens=14", set}), file(change)));
  CHECK(has(refused({"model.layers[0].ffn.tokens=9"}), file("nothing grows")));
  CHECK(has(refused({"model.layers[0].ffn.token=14"}), "Did you mean `tokens`?"));
  CHECK(has(refused({"model.layers[9].ffn.tokens=14"}), "out of range"));
  CHECK(has(refused({"model.layers[*].ffn.expand=14"}), "ffn `pattention` has no option `expand`"));
  CHECK_FALSE(fs::exists(t.runs() / "x"));
  CHECK(has(message_of<ConfigError>([&] { grow(run.folder, kMore, run.folder); }), "exists: choose another"));
  CHECK_THROWS_AS(grow(t.runs() / "none", kMore, t.runs() / "x"), CheckpointError);
  const RunOutcome plain = train(t, {"name=plain", "train.max_steps=2", "model.layers=[{mixer: min_gru, ffn: mlp}]"});
  CHECK(has(message_of<ConfigError>([&] { grow(plain.folder, {"model.layers[0].ffn.expand=4"}, t.runs() / "x"); }),
            "has no pattention"));
}
