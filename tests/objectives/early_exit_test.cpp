// Early exit loss: weights of the transcription, what is minimised, and what exits leave as it was.
#include "objectives/early_exit.h"

#include <doctest/doctest.h>

#include <cmath>

#include "autodiff/meter.h"
#include "checkpoint/checkpoint.h"
#include "config/expect.h"
#include "model/describe.h"
#include "support/golden.h"
#include "support/gradients.h"
#include "support/models.h"
#include "support/named.h"
#include "support/run_calls.h"
#include "train/rehearsal.h"
#include "train/trainer.h"

using namespace effllm;
using namespace effllm::test;
using effllm::testing::config_error;

namespace {

constexpr int64_t kVocab = 11, kRows = 3, kTokens = 5;
constexpr const char* kFour =
    "{d_model: 8, init: {std: 0.5}, layers: [{mixer: min_gru}, {mixer: {type: attention, heads: 2}}, {mixer: min_gru}, "
    "{mixer: {type: gla, heads: 2}}]}";

EarlyExitOptions options_of(const std::string& yaml) {
  EarlyExitOptions o;
  read(o, parse_config(yaml, "test"), "early_exit");
  return o;
}

std::unique_ptr<Objective> objective(const std::string& early_exit, const std::string& more = "type: next_token") {
  return all_objectives.read(parse_config("{" + more + ", early_exit: " + early_exit + "}", "test")).build();
}

// One batch, of which some targets do not count, and what a step makes of it.
struct Step {
  Tensor ids = random_ids(kRows, kTokens, kVocab, 1), targets = random_ids(kRows, kTokens, kVocab, 2);
  int64_t counted = kRows * kTokens - 3;
  Ledger ledger;
  Context cx;
  Step() {
    for (const int64_t ignored : {2, 3, 9}) targets.data<int32_t>()[ignored] = kIgnoredTarget;
    cx.phase = Phase::train;
  }
  Tensor loss(const Objective& o, const LanguageModel& model, State* state = nullptr) {
    ledger = Ledger(counted);
    cx.ledger = &ledger;
    return o.loss(model, {ids, targets, {}}, 1.0 / static_cast<double>(counted), cx, state);
  }
  std::vector<std::string> names() const {
    std::vector<std::string> all;
    for (const Measured& m : ledger.rows()) all.push_back(m.name);
    return all;
  }
  double row(std::string_view name) const { return row_of(ledger, name); }
  double nats(const LanguageModel& model) const {
    return at(model.loss(ids, targets, 1.0 / static_cast<double>(counted), cx), 0, 0);
  }
};

Slab gradient_of(const LanguageModel& model, const Objective& o, Step& step) {
  Slab all(model.params().slab_elements(), DType::f64);
  loss_gradient(
      model, [&] { return step.loss(o, model); }, all);
  return all;
}

bool same_gradients(const LanguageModel& model, const Slab& a, const Slab& b) {
  return std::ranges::all_of(model.params().sorted(), [&](const Parameter* p) {
    return same_bits(model.params().view(a, *p), model.params().view(b, *p));
  });
}

}  // namespace

TEST_CASE("early_exit: weights are those of the transcription, and so is the mean number of exits") {
  for_each_golden("early_exit", "objective", [](const SafetensorsFile& file) {
    const ConfigNode options = parse_config(file.metadata().at("options"), "golden");
    const EarlyExit exits(options_of(to_yaml(*options.find("early_exit"))));
    const int64_t layers = std::stoll(file.metadata().at("layers"));
    const Tensor want = golden_tensor(file, "weights"), steps = golden_tensor(file, "step"),
                 progress = golden_tensor(file, "progress");
    for (int64_t k = 0; k < want.rows(); ++k) {
      const std::vector<double> got = exits.weights(layers, steps.data<int64_t>()[k], at(progress, 0, k));
      REQUIRE(static_cast<int64_t>(got.size()) == layers);
      for (int64_t l = 0; l < layers; ++l)
        CHECK(got[static_cast<size_t>(l)] == doctest::Approx(at(want, k, l)).epsilon(1e-14));
      if (at(want, k, layers - 1) == 1) CHECK(got.back() == 1);
    }
    // Over a whole number of rotations, and over a run in small steps.
    const int64_t many = 1000 * layers;
    double sum = 0;
    for (int64_t t = 0; t < many; ++t) {
      const auto w = exits.weights(layers, t, static_cast<double>(t) / static_cast<double>(many));
      sum += static_cast<double>(std::ranges::count_if(w, [](double e) { return e > 0; }) - 1);
    }
    CHECK(exits.mean_exits(layers) == doctest::Approx(sum / static_cast<double>(many)).epsilon(0.002));
  });
}

TEST_CASE("early_exit: what is minimised is the weighted sum of the exits' losses, and the loss is the last layer's") {
  const Threads one(1);
  const auto model = build_model(kFour, kVocab, kTokens);
  constexpr double kZ = 0.3;
  const auto o = objective("{scale: 0.7}", "type: next_token, z_loss: 0.3");
  const std::vector<double> w = EarlyExit(options_of("{scale: 0.7}")).weights(4, 0, 0);
  Step step;
  CHECK(at(step.loss(*o, *model), 0, 0) == doctest::Approx(step.nats(*model)).epsilon(1e-14));
  CHECK(step.names() == std::vector<std::string>{"layers.1.exit_loss", "layers.2.exit_loss", "z_loss"});
  // The exits are those of the model that ends there.
  for (const int64_t layers : {2, 3}) {
    const auto shorter = build_model(kFour, kVocab, kTokens);
    shorter->exit_after(layers);
    CHECK(step.row("layers." + std::to_string(layers - 1) + ".exit_loss") ==
          doctest::Approx(step.nats(*shorter)).epsilon(1e-14));
  }
  const Slab gradient = gradient_of(*model, *o, step);
  const auto minimised = [&] {
    const double last = at(step.loss(*o, *model), 0, 0);
    return w[1] * step.row("layers.1.exit_loss") + w[2] * step.row("layers.2.exit_loss") + w[3] * last +
           kZ * step.row("z_loss");
  };
  check_slopes(*model, gradient, minimised, 5);
}

TEST_CASE("early_exit: where the last layer alone has weight, loss and gradients are plain to the bit") {
  const Threads one(1);
  const auto model = build_model(kFour, kVocab, kTokens);
  Step plain;
  const double loss = at(plain.loss(next_token(), *model), 0, 0);
  const Slab gradient = gradient_of(*model, next_token(), plain);
  for (const char* none : {"{scale: 0}",
                           "{scale: 1, curriculum: "
                           "gradual}",
                           "{scale: 1, curriculum: rotational, every: 4}"}) {
    CAPTURE(none);
    const auto o = objective(none);
    Step step;
    CHECK(at(step.loss(*o, *model), 0, 0) == loss);
    CHECK(step.names().empty());
    CHECK(same_gradients(*model, gradient_of(*model, *o, step), gradient));
    step.cx.progress = 0.6;  // all exits of the gradual curriculum
    step.cx.step = 2;
    const bool stays = std::string(none).find("scale: 0") != std::string::npos;
    CHECK(same_gradients(*model, gradient_of(*model, *o, step), gradient) == stays);
  }
  // Where nobody adds up, losses beside the objective's are left out.
  Step step;
  step.cx.ledger = nullptr;
  CHECK(at(objective("{scale: 1}")->loss(*model, {step.ids, step.targets, {}}, 1.0 / 12, step.cx, nullptr), 0, 0) ==
        doctest::Approx(loss).epsilon(1e-14));
}

TEST_CASE("early_exit: a step has the exits of its curriculum, and nothing is computed for others") {
  const Threads one(1);
  const auto model = build_model(kFour, kVocab, kTokens);
  const auto rotational = objective("{scale: 0.5, curriculum: rotational, every: 2}"),
             gradual = objective("{scale: 0.5, curriculum: gradual}");
  Step step;
  const auto unembeddings = [&](const Objective& o, int64_t number, double progress) {
    Meter meter;
    step.cx.step = number;
    step.cx.progress = progress;
    step.loss(o, *model);
    return meter.by_op.find("linear_cross_entropy")->second.calls;
  };
  using Names = std::vector<std::string>;
  CHECK(unembeddings(*rotational, 0, 0) == 2);
  CHECK(step.names() == Names{"layers.2.exit_loss"});
  CHECK(unembeddings(*rotational, 1, 0) == 2);
  CHECK(step.names() == Names{"layers.1.exit_loss"});
  CHECK(unembeddings(*gradual, 0, 0) == 1);
  CHECK(unembeddings(*gradual, 0, 0.25) == 2);
  CHECK(step.names() == Names{"layers.2.exit_loss"});
  CHECK(unembeddings(*gradual, 0, 0.375) == 3);
  CHECK(unembeddings(*gradual, 0, 0.99) == 3);  // the first layer's exit has no weight
}

TEST_CASE("early_exit: exits leave what a model remembers as it was") {
  const Threads one(1);
  const auto model = build_model(kFour, kVocab, kTokens);
  const auto after = [&](const Objective& o) {
    State state = model->make_state(kRows, 2 * kTokens);
    Step step;
    for (int i = 0; i < 2; ++i) step.loss(o, *model, &state);
    return state;
  };
  const State plain = after(next_token()), with = after(*objective("{scale: 1}"));
  std::vector<Tensor> a, b;
  plain.each([&](const StateField&, const Tensor& t) { a.push_back(t); });
  with.each([&](const StateField&, const Tensor& t) { b.push_back(t); });
  REQUIRE(a.size() == b.size());
  CHECK(a.size() > 4);
  for (size_t i = 0; i < a.size(); ++i) CHECK(same_bits(a[i], b[i]));
}

TEST_CASE("early_exit: a model that ends after all of its layers is the model, after fewer one without the others") {
  const auto model = build_model(kFour, kVocab, kTokens), shorter = build_model(kFour, kVocab, kTokens);
  const Tensor ids = random_ids(2, kTokens, kVocab, 1),
               x = model->run(model->embed(ids, {}, nullptr), 0, 2, {}, nullptr);
  shorter->exit_after(4);
  CHECK(same_bits(shorter->logits(ids, {}), model->logits(ids, {})));
  shorter->exit_after(2);
  CHECK(same_bits(shorter->logits(ids, {}), model->head(x)));
  State state = shorter->make_state(2, kTokens);
  shorter->logits(ids, {}, &state);
  state.each([&](const StateField& f, const Tensor& t) {
    if (f.path.starts_with("layers.2") || f.path.starts_with("layers.3")) CHECK_MESSAGE(max_abs(t) == 0, f.path);
  });
  for (const int64_t wrong : {0, 5}) CHECK_THROWS_AS(shorter->exit_after(wrong), ShapeError);
}

TEST_CASE("early_exit: with blocks that samples skip and blocks that choose tokens, and of goldfish's targets alone") {
  const Threads one(1);
  const auto model = build_model(
      "{d_model: 8, block: {ffn: mlp}, layers: [{mixer: min_gru}, {type: layer_drop, rate: 0.5, depth: exp, "
      "curriculum: "
      "exponential, mixer: min_gru}, {type: mod, mixer: {type: attention, heads: 2}}, {type: layer_drop, rate: 0.9, "
      "mixer: min_gru}]}",
      kVocab, kTokens);
  for (const char* type : {"type: next_token", "type: goldfish"}) {
    const auto o = objective("{scale: 0.5}", type);
    Step step;
    step.cx.seed = 3;
    step.cx.progress = 0.9;
    CHECK(std::isfinite(at(step.loss(*o, *model), 0, 0)));
    for (const char* name : {"layers.1.exit_loss", "layers.2.exit_loss"})
      CHECK(step.row(name) == doctest::Approx(std::log(kVocab)).epsilon(0.3));
    const Slab gradient = gradient_of(*model, *o, step);
    for (const Parameter* p : model->params().sorted())
      if (p->name.starts_with("layers.0")) CHECK_MESSAGE(max_abs(model->params().view(gradient, *p)) > 0, p->name);
  }
}

TEST_CASE("early_exit: with every curriculum, 1, 2 and 3 threads give the same parameters, and recomputing does") {
  TokenizedText source;
  for (int64_t i = 0; i < 4000; ++i) source.tokens.push_back(static_cast<int32_t>((i * i + i / 7) % kVocab));
  source.document_starts = {0};
  source.bytes = 4000;
  const auto hash = [&](const char* exits, int threads, bool recompute) {
    const Threads n(threads);
    const auto o = objective(exits);
    const auto model = build_model_for(*o, kFour, kVocab, 12, DType::f32);
    const auto order = build_order("shuffled_windows", source, {8, 12}, 1, true, *o);
    const auto optimizer = build_optimizer(OptimOptions(), {}, model->params());
    Trainer trainer(*model, *o, *optimizer, plan_shards(8, 12, 2, 24, model->params().count()),
                    {.seed = 3, .recompute = recompute});
    for (int64_t t = 0; t < 10; ++t) {
      const StepResult r = trainer.step(order->at(t * 8), t, 1, true, static_cast<double>(t) / 10);
      REQUIRE(r.finite);
    }
    return parameter_hash(model->params());
  };
  std::vector<std::string> all;
  for (const char* exits : {"{scale: 0}", "{scale: 0.5}", "{scale: 0.5, curriculum: rotational, every: 3}",
                            "{scale: 0.5, curriculum: gradual}"}) {
    CAPTURE(exits);
    all.push_back(hash(exits, 1, false));
    for (const int threads : {2, 3}) CHECK(hash(exits, threads, false) == all.back());
    CHECK(hash(exits, 1, true) == all.back());
  }
  std::ranges::sort(all);
  CHECK(std::ranges::adjacent_find(all) == all.end());
}

TEST_CASE("early_exit: a run that goes on has the bits of one that was not stopped, and its journal has every exit") {
  const Threads one(1);
  for (const char* exits : {"{scale: 0.5, curriculum: rotational, every: 2}", "{scale: 0.5, curriculum: gradual}"}) {
    CAPTURE(exits);
    const TinyFolder t("early_exit_resume");
    const Sets same = {std::string("objective.early_exit=") + exits, "train.log_every=5",
                       "model.block={type: layer_drop, curriculum: exponential, ffn: mlp}"};
    const RunFolder whole(train(t, with(same, {"name=whole", "train.max_steps=30"})).folder);
    const RunFolder part(train(t, with(same, {"name=part", "train.max_steps=30", "train.save_every=13"})).folder);
    std::filesystem::remove(part.checkpoint(30));
    std::filesystem::remove(part.best());
    train(t, with(same, {"name=part", "train.max_steps=30", "train.save_every=13"}), true);
    CHECK(hash_of(part.checkpoint(30)) == hash_of(whole.checkpoint(30)));
    CHECK(losses(part.path()) == losses(whole.path()));
    const JournalData journal = read_journal(whole.path() / "metrics.jsonl");
    const std::vector<double>* exit = journal.find("train")->find("layers.1.exit_loss");
    REQUIRE(exit);
    CHECK(std::isfinite(exit->back()));
    if (std::string(exits).find("rotational") != std::string::npos)  // which steps 9 and 24 do not have
      CHECK(std::ranges::all_of(*exit, [](double v) { return std::isfinite(v); }));
    else
      CHECK(std::isnan(exit->front()));
    CHECK_FALSE(journal.find("train")->find("layers.0.exit_loss"));
  }
}

TEST_CASE("early_exit: what a step costs is known before it: names, FLOPs, and a plan that has its most exits") {
  const auto config = [](const std::string& exits) {
    return read_run_config(parse_config("model: {d_model: 16, layers: [{repeat: 5, of: [{mixer: min_gru}]}]}\n"
                                        "objective: {early_exit: " +
                                            exits + "}\ntrain: {batch: 4, context: 16, max_steps: 5, lanes: 1}\n",
                                        "c.yaml"),
                           "c.yaml");
  };
  const auto rehearsed = [](const RunConfig& c) {
    const auto model = model_on_shapes(c.model, kVocab);
    Rehearsal r(c, *model);
    const Ledger ledger = r.step();
    return std::pair(ledger.rows().size(), r.taken());
  };
  const auto flops = [](const RunConfig& c) { return train_flops_per_token(*model_on_shapes(c.model, kVocab), 16); };
  const RunConfig plain = config("{scale: 0}"), all = config("{scale: 1}"),
                  two = config("{scale: 1, curriculum: rotational, every: 2}"),
                  one = config("{scale: 1, curriculum: rotational}"), grown = config("{scale: 1, curriculum: gradual}");
  for (const RunConfig* c : {&all, &two, &one, &grown}) CHECK(rehearsed(*c).first == 3);
  CHECK(rehearsed(plain).first == 0);
  CHECK(rehearsed(grown).second == rehearsed(all).second);
  CHECK(rehearsed(plain).second < rehearsed(one).second);
  CHECK(rehearsed(one).second < rehearsed(all).second);
  CHECK(rehearsed(one).second <= rehearsed(two).second);
  CHECK(all.model.exits == 3);
  CHECK(two.model.exits == doctest::Approx(3 * 0.6));
  const double exit = (flops(all) - flops(plain)) / 3;
  CHECK(exit > 0);
  CHECK(flops(two) == doctest::Approx(flops(plain) + two.model.exits * exit));
  for (const RunConfig* c : {&plain, &all, &two, &grown}) {
    const ModelCost cost = count_cost(c->model, kVocab, 16);
    CHECK(cost.total.train_flops == doctest::Approx(flops(*c)));
    CHECK(cost.total.prefill_flops == count_cost(plain.model, kVocab, 16).total.prefill_flops);
  }
  const auto kept = [](const RunConfig& c) { return count_cost(c.model, kVocab, 16).kept_bytes; };
  CHECK(kept(all) > kept(plain));
  // Of the step that has the most exits: with one more than there are in the mean, rounded up.
  ConfigNode deep = parse_config(
      "model: {d_model: 16, layers: [{repeat: 8, of: [{mixer: min_gru}]}]}\nobjective: {early_exit: {scale: "
      "1}}\ntrain: {batch: 4, context: 16, max_steps: 5, lanes: 1}\n",
      "c.yaml");
  const double kept_of_all = kept(read_run_config(deep, "c.yaml"));
  apply_override(deep, "objective.early_exit.curriculum=gradual", 1);
  const RunConfig gradual = read_run_config(deep, "c.yaml");
  CHECK(gradual.model.exits < 5);
  CHECK(gradual.model.most_exits == 6);
  CHECK(kept(gradual) == kept_of_all);
}

TEST_CASE("early_exit: a model that ends after a layer answers for the layers that it has") {
  const auto model = build_model(
      "{d_model: 8, block: {ffn: mlp}, layers: [{mixer: min_gru}, {mixer: {type: attention, heads: 2, window: 4}}, "
      "{type: mod, mixer: {type: attention, heads: 2}}]}",
      kVocab, kTokens);
  CHECK(model->trains_otherwise());
  CHECK(model->long_text(16).unseen);
  model->exit_after(2);
  CHECK_FALSE(model->trains_otherwise());
  CHECK_FALSE(model->long_text(16).unseen);
  CHECK(model->long_text(16).reach);
  model->exit_after(1);
  CHECK_FALSE(model->long_text(16).reach);
}

TEST_CASE("early_exit: what does not fit is an error, and runs without exits have the hash that they had") {
  const auto refused = [](const std::string& exits) { return config_error([&] { objective(exits); }); };
  CHECK(refused("{scale: 0.2, every: 3}").find("every belongs to curriculum: rotational") != std::string::npos);
  CHECK(refused("{scale: 1.5}").find("0 to 1") != std::string::npos);
  CHECK(refused("{scale: 0, curriculum: rotational}")
            .starts_with("test:1:32: error: objective.early_exit.curriculum: rotational does nothing with scale: 0"));
  CHECK(has(refused("{curriculum: gradual}"), "curriculum: gradual does nothing with scale: 0"));
  CHECK(refused("{scale: 0, curriculum: none}").empty());  // as resolved files have it
  const auto of_layers = [](int layers, const std::string& objective) {
    return config_error([&] {
      read_run_config(parse_config("model: {d_model: 16, layers: [{repeat: " + std::to_string(layers) +
                                       ", of: [{mixer: min_gru}]}]}\ntrain: {max_steps: 5}\nobjective: " + objective,
                                   "c.yaml"),
                      "c.yaml");
    });
  };
  for (const char* type : {"next_token", "goldfish"}) {
    const std::string exits = std::string("{type: ") + type + ", early_exit: {scale: 0.2}}";
    CHECK(has(of_layers(2, exits), "c.yaml:3:"));
    CHECK(has(of_layers(2, exits), "objective.early_exit does nothing in a model of 2 layers"));
    CHECK(has(of_layers(1, exits), "does nothing in a model of 1 layer:"));
    CHECK(of_layers(3, exits).empty());
  }
  CHECK(of_layers(1, "{early_exit: {scale: 0}}").empty());
  const auto hash = [](const std::string& objective) {
    return experiment_hash(read_run_config(
        parse_config(
            "model: {d_model: 16, layers: [{repeat: 3, of: [{mixer: min_gru}]}]}\ntrain: {max_steps: 5}\n" + objective,
            "c.yaml"),
        "c.yaml"));
  };
  CHECK(hash("objective: {early_exit: {scale: 0}}") == hash(""));
  CHECK(hash("objective: {early_exit: {scale: 0.2}}") != hash(""));
  CHECK(hash("objective: {early_exit: {scale: 0.2, curriculum: gradual}}") !=
        hash("objective: {early_exit: {scale: 0.2}}"));
}
