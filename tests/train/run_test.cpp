#include "train/run.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "base/json.h"
#include "checkpoint/checkpoint.h"
#include "store/hdf5_read.h"
#include "support/models.h"
#include "support/run_calls.h"
#include "train/loaded_model.h"

using namespace effllm;
using namespace effllm::test;
namespace fs = std::filesystem;

namespace {

// Steps and losses of training, and of evaluations.
std::vector<std::vector<double>> curves(const fs::path& run) {
  std::vector<std::vector<double>> all;
  const JournalData j = read_journal(run / "metrics.jsonl");
  for (const char* kind : {"train", "val"}) {
    const JournalTable* t = j.find(kind);
    REQUIRE(t);
    all.emplace_back(t->step.begin(), t->step.end());
    all.push_back(*t->find("loss"));
  }
  return all;
}

nlohmann::json status_of(const fs::path& run) { return nlohmann::json::parse(slurp(run / "status.json")); }

}  // namespace

TEST_CASE("run: the folder holds what is promised, and metrics.h5 agrees with the journal") {
  const Threads one(1);
  const TinyFolder t("run_folder");
  const RunOutcome done = train(t);
  CHECK(done.steps == 100);
  CHECK(done.tokens == 6400);
  CHECK_FALSE(done.interrupted);
  CHECK(done.folder == t.runs() / "c");
  for (const char* file : {"config.yaml", "config.resolved.yaml", "overrides.txt", "provenance.json", "metrics.jsonl",
                           "metrics.h5", "log.txt", "status.json", ".lock", "ckpt/step_000000080.safetensors",
                           "ckpt/step_000000100.safetensors", "ckpt/best.safetensors", "samples/step_000000100.txt"})
    CHECK_MESSAGE(fs::exists(done.folder / file), file);
  CHECK_FALSE(fs::exists(done.folder / "ckpt/step_000000060.safetensors"));  // keep: 2
  CHECK(slurp(done.folder / "samples/step_000000100.txt").size() > 12);
  CHECK(status_of(done.folder).at("status") == "done");
  CHECK(status_of(done.folder).at("best_step") == 100);
  CHECK(read_run_config(load_config(done.folder / "config.resolved.yaml")).train.lanes == 2);

  const JournalData j = read_journal(done.folder / "metrics.jsonl");
  CHECK(j.bad_lines == 0);
  for (const JournalTable& table : j.tables)
    for (const auto& [name, values] : table.columns) {
      INFO(table.kind << "/" << name);
      CHECK(read_hdf5_series(done.folder / "metrics.h5", table.kind + "/" + name) == values);
    }
  const std::vector<double>& loss = *j.find("train")->find("loss");
  REQUIRE(loss.size() == 10);
  CHECK(loss.back() < loss.front() - 0.5);
  CHECK(j.find("val")->step == std::vector<int64_t>{100});
  // The best checkpoint is the model that was evaluated.
  CHECK(load_model(done.folder).step == 100);
  CHECK(done.best_val == j.find("val")->find("loss")->back());
}

TEST_CASE("run: trained to 40, resumed to 100, it is the same run: weights, losses, evaluations") {
  const Threads one(1);
  for (const std::vector<std::string>& more :
       {std::vector<std::string>{"train.eval_every=30"},
        {"train.save_every=35", "train.log_every=8", "data.order=streams", "train.carry_state=true",
         "model.layers[0].mixer.window=5", "data.reset=document", "model.dropout=0.1"}}) {
    const TinyFolder t("run_resume");
    const RunOutcome whole = train(t, with(more, {"name=whole"}));
    // A run that is stopped by its process being killed: the newest checkpoint is older than its journal.
    train(t, with(more, {"name=part"}));
    const RunFolder part(t.runs() / "part");
    const std::vector<int64_t> steps = part.steps();
    REQUIRE(steps.size() == 2);
    fs::remove(part.checkpoint(100));
    const RunOutcome resumed = train(t, with(more, {"name=part"}), true);
    CHECK(resumed.folder == t.runs() / "part");
    CHECK(hash_of(part.checkpoint(100)) == hash_of(RunFolder(whole.folder).checkpoint(100)));
    CHECK(curves(part.path()) == curves(whole.folder));
    CHECK(resumed.best_val == whole.best_val);
    CHECK(resumed.tokens == whole.tokens);
    CHECK(slurp(part.log()).find("going on from step " + std::to_string(steps[0])) != std::string::npos);
  }
}

TEST_CASE("run: a finished run that is resumed changes nothing, a longer horizon goes on") {
  const Threads one(1);
  const TinyFolder t("run_finished");
  const RunOutcome first = train(t);
  const auto before = curves(first.folder);
  const std::string hash = hash_of(first.folder / "ckpt/best.safetensors");
  const RunOutcome again = train(t, {}, true);
  CHECK(again.steps == 100);
  CHECK(curves(first.folder) == before);
  CHECK(hash_of(first.folder / "ckpt/best.safetensors") == hash);
  CHECK(again.best_val == first.best_val);
  const RunOutcome longer = train(t, {"train.max_steps=120"}, true);
  CHECK(longer.steps == 120);
  CHECK(curves(first.folder)[0].size() == before[0].size() + 2);
  CHECK(train(t).folder == t.runs() / "c-2");
  // Nothing to train, and a checkpoint within a row: who took no step writes none.
  const RunFolder cut(train(t, {"name=cut", "train.save_every=35", "train.log_every=8"}).folder);
  fs::remove(cut.checkpoint(100));
  train(t, {"name=cut", "train.max_steps=60", "train.log_every=8"}, true);
  CHECK(read_journal(cut.journal()).find("train")->step.back() == 64);
}

TEST_CASE("run: a kill between a checkpoint and its mark as the best is made good") {
  const Threads one(1);
  const TinyFolder t("run_unmarked");
  const RunFolder run(train(t, {"train.eval_every=20"}).folder);
  REQUIRE(load_model(run.path()).step == 100);
  fs::remove(run.best());  // it is a link to the checkpoint, which must not change with it
  fs::copy_file(run.checkpoint(80), run.best());
  train(t, {"train.eval_every=20"}, true);
  CHECK(load_model(run.path()).step == 100);
  fs::remove(run.best());
  train(t, {"train.eval_every=20"}, true);
  CHECK(load_model(run.path()).step == 100);
}

TEST_CASE("run: a loss is the best among those that were measured alike") {
  const Threads one(1);
  const TinyFolder t("run_best");
  const RunOutcome first = train(t);
  const auto again = [&](std::vector<std::string> set) {
    set.emplace_back("train.max_steps=105");
    fs::remove_all(t.runs() / "other");
    fs::copy(first.folder, t.runs() / "other", fs::copy_options::recursive);
    set.emplace_back("name=other");
    const RunOutcome r = train(t, set, true);
    return std::pair(r.best_val, slurp(r.folder / "log.txt").find("the best loss starts anew") != std::string::npos);
  };
  CHECK_FALSE(again({}).second);
  CHECK_FALSE(again({"eval.prompt=the", "eval.tokens=16"}).second);  // what it was by default
  for (const char* changed : {"eval.max_tokens=90", "eval.tokens=5", "eval.protocol=carried", "eval.split=test"}) {
    const auto [best, said] = again({changed, "optim.lr=1"});  // it gets worse
    CHECK_MESSAGE(said, changed);
    CHECK(best != first.best_val);
  }
  CHECK(again({"optim.lr=1"}).first == first.best_val);
}

TEST_CASE("run: a checkpoint is read whatever its run was called") {
  const Threads one(1);
  const TinyFolder t("run_name");
  RunRequest r = request(t, {"train.max_steps=2"});
  r.config.name = "my run";
  const LoadedModel m = load_model(Run(std::move(r)).train().folder);
  CHECK(m.config.name == "my run");
}

TEST_CASE("run: the header names every metric, and metrics.h5 has its unit and its title") {
  const Threads one(1);
  const TinyFolder t("run_units");
  const std::filesystem::path folder = train(t).folder;
  const std::string journal = slurp(folder / "metrics.jsonl"), header = journal.substr(0, journal.find('\n'));
  const std::string described = slurp(folder / "metrics.h5");
  CHECK(described.find("standard error of the cross entropy") != described.npos);
  CHECK(described.find("bits/character") != described.npos);
  const JournalData data = read_journal(folder / "metrics.jsonl");
  REQUIRE(data.tables.size() == 2);
  for (const JournalTable& table : data.tables)
    for (const auto& [name, values] : table.columns) {
      INFO(table.kind << "/" << name);
      CHECK(header.find('"' + name + "\":0.0") != header.npos);
      std::string words = name;  // what nobody has titled is called so
      std::ranges::replace(words, '_', ' ');
      if (words != name) CHECK(described.find(words) == described.npos);
      if (table.kind == "val" && name == "tokens") CHECK(values == std::vector<double>{6400});
      if (name == "scored_tokens") CHECK(values == std::vector<double>{400});
    }
}

TEST_CASE("run: who goes on says what rows hold from there on, and whose configuration it is") {
  const Threads one(1);
  const TinyFolder t("run_headers");
  const RunFolder run(train(t, {"train.max_steps=20"}).folder);
  for (const int64_t step : run.steps()) fs::remove(run.checkpoint(step));  // as if killed before the first
  const Sets other = {"train.max_steps=20", "optim.lr=1e-3", "objective.z_loss=0.1"};
  train(t, other, true);
  const std::string journal = slurp(run.journal()), header = journal.substr(journal.rfind("{\"type\":\"header\""));
  CHECK(header.substr(0, header.find('\n')).find("\"z_loss\":0.0") != header.npos);
  const std::string hash = nlohmann::json::parse(slurp(run.provenance()))["config_sha256"];
  CHECK(journal.find(hash) > journal.find('\n'));  // not in the first
  CHECK(read_journal(run.journal()).config_sha256 == hash);
  CHECK(slurp(run.metrics()).find(hash) != std::string::npos);
}

TEST_CASE("run: where streams begin again, carried states do too") {
  const Threads one(1);
  const TinyFolder t("run_streams");
  const RunOutcome done =
      train(t, {"optim.lr=0", "optim.weight_decay=0", "data.order=streams", "train.carry_state=true",
                "model.layers[0].mixer.window=9", "train.batch=8", "train.context=256", "train.max_steps=24",
                "train.log_every=1", "train.save_every=0"});
  const Corpus corpus = Corpus::open((t / "data/tiny.yaml").string());
  const auto period = static_cast<size_t>((corpus.text(Split::train).size() - 1) / (8 * 256));
  REQUIRE(period >= 3);
  REQUIRE(2 * period <= 24);
  const std::vector<double> loss = losses(done.folder);
  for (size_t i = 0; i + period < loss.size(); ++i) CHECK(loss[i] == loss[i + period]);
  CHECK(loss[0] != loss[1]);
}

TEST_CASE("run: every kind of horizon ends it") {
  const Threads one(1);
  const TinyFolder t("run_horizon");
  CHECK(train(t, {"~train.max_steps", "train.max_tokens=650"}).steps == 11);
  const RunOutcome flops = train(t, {"~train.max_steps", "train.max_flops=5e6"});
  const Sets again{"~train.max_steps", "train.max_flops=5e6", "train.recompute=block", "name=again"};
  CHECK(train(t, again).steps == flops.steps);  // how it is computed moves no horizon
  CHECK(flops.steps > 1);
  const RunOutcome epochs = train(t, {"~train.max_steps", "train.max_epochs=1.5", "name=epochs"});
  const Corpus corpus = Corpus::open((t / "data/tiny.yaml").string());
  const auto windows = static_cast<double>(corpus.text(Split::train).size() / 16 - 1);
  CHECK(epochs.steps == static_cast<int64_t>(std::ceil(1.5 * windows / 4)));
  const JournalData journal = read_journal(epochs.folder / "metrics.jsonl");
  const JournalTable* rows = journal.find("train");
  REQUIRE(rows);
  CHECK(rows->find("epoch")->at(2) == 30 * 4 / windows);
  const RunOutcome time = train(t, {"~train.max_steps", "train.max_time=0.1"});
  CHECK(time.seconds >= 0.1);
  CHECK(time.steps > 1);
}

TEST_CASE("run: a row of training is the mean of its steps") {
  const Threads one(1);
  const TinyFolder t("run_rows");
  const auto losses_every = [&](int n, const char* name) {
    train(t, {"train.max_steps=12", fmt::format("train.log_every={}", n), std::string("name=") + name});
    return losses(t.runs() / name);
  };
  const std::vector<double> each = losses_every(1, "each"), rows = losses_every(4, "rows");
  REQUIRE(each.size() == 12);
  REQUIRE(rows.size() == 3);
  for (size_t i = 0; i < 3; ++i)
    CHECK(rows[i] ==
          doctest::Approx((each[4 * i] + each[4 * i + 1] + each[4 * i + 2] + each[4 * i + 3]) / 4).epsilon(1e-12));
}

TEST_CASE(
    "run: steps without a target that counts learn nothing and are in no row, and rows that have none are refused") {
  const Threads one(1);
  const TinyFolder t("run_targets");
  const auto sets = [](const char* mask) {
    return Sets{fmt::format("objective={{type: goldfish, k: 2, {}}}", mask), "train.batch=1", "train.context=1",
                "train.log_every=1", "train.max_steps=40"};
  };
  const RunOutcome done = train(t, sets("context_width: 1"));
  const std::vector<double> loss = losses(done.folder);
  CHECK(loss.size() > 8);
  CHECK(loss.size() < 32);
  CHECK(std::ranges::min(loss) > 0);
  const SafetensorsFile last(RunFolder(done.folder).checkpoint(40));
  CHECK(last.metadata().at("optimizer_steps") == std::to_string(loss.size()));
  CHECK(status_of(done.folder)["train_loss"] > 0.5);
  const std::string refused = message_of<ConfigError>([&] { train(t, sets("mask: static")); });
  CHECK(refused.find("error: train.context: rows of 1 token have no target that goldfish counts") != refused.npos);
}

TEST_CASE("run: every evaluation has its checkpoint") {
  const Threads one(1);
  const TinyFolder t("run_evaluations");
  const RunOutcome done = train(
      t, {"train.max_steps=30", "train.eval_every=10", "train.save_every=0", "train.save_seconds=0", "train.keep=10"});
  CHECK(RunFolder(done.folder).steps() == std::vector<int64_t>{10, 20, 30});
}

TEST_CASE("run: steps that are not finite are left out and named, the fourth in a row ends the run") {
  const Threads one(1);
  const TinyFolder t("run_nonfinite");
  for (const auto& [policy, steps] : {std::pair{"skip", 4}, std::pair{"abort", 1}}) {
    const std::string message = message_of<NumericalError>([&, p = policy] {
      train(t, {"optim.lr=100", "optim.schedule={type: constant, warmup: 0}", "optim.weight_decay=100",
                "train.max_steps=5000", "train.save_every=2", std::string("train.nonfinite=") + p,
                std::string("name=") + p});
    });
    INFO(message);
    CHECK(message.find(steps == 1 ? "after 1 step without finite values" : "after 4 steps without finite values") !=
          message.npos);
    CHECK(message.find("optim.lr") != message.npos);
    const fs::path run = t.runs() / policy;
    int warnings = 0;
    for (const auto& e : read_journal(run / "metrics.jsonl").events)
      warnings += e.level == "warning" && e.text.find("step left out: ") == 0;
    CHECK(warnings >= steps);
    CHECK(slurp(run / "log.txt").find("was left out") != std::string::npos);
    CHECK(status_of(run).at("status") == "failed");
    for (const int64_t step : RunFolder(run).steps()) CHECK_NOTHROW(load_model(RunFolder(run).checkpoint(step)));
  }
}

TEST_CASE("run: a loss above log(vocabulary) for long is said and is not called the best") {
  const Threads one(1);
  const TinyFolder t("run_guess");
  const RunOutcome bad = train(t, {"optim.lr=0", "optim.weight_decay=0", "model.init={std: 1}", "train.max_steps=120",
                                   "train.eval_every=60", "name=bad"});
  const std::string log = slurp(bad.folder / "log.txt");
  const double guess = std::log(static_cast<double>(load_model(bad.folder).model->vocab()));
  REQUIRE(bad.best_val > guess);
  CHECK(log.find("for 100 steps the loss has been above log(") != log.npos);
  CHECK(log.find("worse than a guess)") != log.npos);
  CHECK(log.find("(best)") == log.npos);
  CHECK(status_of(bad.folder).at("best_step") == 60);  // what is as good later is not better
  int warnings = 0;
  for (const auto& e : read_journal(bad.folder / "metrics.jsonl").events)
    warnings += e.level == "warning" && e.text.find("the loss has been above") != e.text.npos;
  CHECK(warnings == 1);
  const std::string good = slurp(train(t, {"name=good"}).folder / "log.txt");
  CHECK(good.find("(best)") != good.npos);
  CHECK(good.find("worse than a guess") == good.npos);
}

TEST_CASE("run: what could only fail at the end fails before the start") {
  const Threads one(1);
  const TinyFolder t("run_early");
  CHECK_THROWS_AS(train(t, {"eval.prompt=\"Z\""}), ConfigError);
  CHECK_THROWS_AS(train(t, {"data.order=streams", "train.carry_state=true"}), ConfigError);  // full attention
  CHECK_THROWS_AS(train(t, {"train.context=100000"}), ConfigError);
  CHECK_THROWS_AS(train(t, {"optim.groups=[{match: nothing}]"}), ConfigError);
  CHECK_THROWS_AS(train(t, {"model.d_model=65536", "model.layers[0].mixer.heads=1"}), MemoryError);
  CHECK_FALSE(fs::exists(t.runs()));
}
