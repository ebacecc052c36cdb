// `effllm sweep` and `effllm compare`: from a study to a table.
#include <chrono>
#include <csignal>
#include <map>
#include <thread>

#include "cli/study_world.h"

using namespace effllm::test;
using nlohmann::json;
namespace fs = std::filesystem;

TEST_CASE("cli sweep: one worker, two, and one that was killed half-way end with the same files") {
  const StudyWorld w;
  const Ended one = w.ok({"sweep", "study.yaml", "-o", "one", "--jobs", "1", "--threads", "1"});
  CHECK(one.says("8 runs (2 arms, 2 points, 2 seeds), 1 at a time with 1 thread each: about "));
  CHECK(one.shows("one: 8 of 8 runs done"));
  const auto results = w.results("one");
  REQUIRE(results.size() == 8);
  CHECK(results.begin()->second.find("seconds") == std::string::npos);

  w.ok({"sweep", "study.yaml", "-o", "two", "--jobs", "2", "--threads", "2", "-q"});
  CHECK(w.results("two") == results);

  {
    Process killed(w.command({"sweep", "study.yaml", "-o", "three", "--jobs", "2", "-q"}), w.in);
    REQUIRE(await_text(w.scratch.path / "three/results/gru.lr-3e-3.s1.json", "\"reported\""));
    killed.signal(SIGKILL);
    CHECK(killed.wait().code == 128 + SIGKILL);
  }
  CHECK(w.results("three").size() < 8);
  {
    Process stopped(w.command({"sweep", "study.yaml", "-o", "three", "--jobs", "1", "-q"}), w.in);
    REQUIRE(await_text(w.scratch.path / "three/results/gru.lr-1e-2.s2.json", "\"reported\""));
    stopped.signal(SIGTERM);
    const Ended r = stopped.wait();
    CHECK_MESSAGE((r.code == 75 || r.code == 0), r.err);
  }
  // What a worker had begun to write when it was killed goes with the next that begins.
  spill(w.scratch.path / "three/results/gru.lr-3e-3.s1.json.tmp.2147483000", "{");
  Ended again = w.effllm({"sweep", "study.yaml", "-o", "three", "--jobs", "2", "-q"});
  for (int i = 0; i < 50 && again.code == 8; ++i) again = w.effllm({"sweep", "study.yaml", "-o", "three", "-q"});
  CHECK_MESSAGE(again.code == 0, again.err);
  CHECK(w.results("three") == results);

  // Once more there is nothing to do.
  const std::string timing = slurp(w.scratch.path / "one/timings/gru.lr-3e-3.s1.json");
  w.ok({"sweep", "study.yaml", "-o", "one", "-q"});
  CHECK(slurp(w.scratch.path / "one/timings/gru.lr-3e-3.s1.json") == timing);
  CHECK(w.effllm({"sweep", "status", "one"}).shows("gru.lr-1e-2.s2"));
  const json status = json::parse(w.ok({"sweep", "status", "one", "--json"}).out);
  for (const json& r : status.at("runs")) CHECK(r.at("status") == "done");

  const json t = w.table("one");
  CHECK(t == w.table("three"));
  CHECK(t.at("unit") == "bits/char");
  const json& arm = t.at("arms").at(1);
  CHECK(arm.at("arm") == "min_gru");
  CHECK(arm.at("scores").size() == 2);
  CHECK(arm.at("verdict") == "no verdict");  // of two values the best is at an edge
  CHECK(arm.at("reason").get<std::string>().find("edge of what was tried") != std::string::npos);
  CHECK(t.at("texts").size() >= 2);
  // What the table says of an arm is what its run folders say.
  const std::string lr = arm.at("chosen").at("optim.lr");
  const json own = json::parse(
      w.ok({"eval", "one/runs/min_gru.lr-" + lr + ".s1", "--split", "test", "--no-baselines", "--json"}).out);
  CHECK(own.at("bits_per_char") == arm.at("scores").at(0));
  CHECK(w.ok({"compare", "one"}).shows("no verdict: the best"));
  // What the runs were foreseen to take stands beside what they took.
  CHECK(one.shows("machine time: foreseen "));
  const json time = json::parse(w.ok({"compare", "one", "--json"}).out).at("time");
  CHECK(time.at("runs") == 8);
  double predicted = json::parse(slurp(w.scratch.path / "one/predicted/baselines.json")).at("seconds");
  CHECK(predicted > 0);
  for (const auto& [file, text] : results)
    predicted += json::parse(slurp(w.scratch.path / "one/predicted" / file)).at("seconds").get<double>();
  CHECK(time.at("predicted_s").get<double>() == doctest::Approx(predicted));
  CHECK(time.at("spent_s").get<double>() > 0);
  CHECK(w.ok({"compare", "one"}).shows("machine time: foreseen "));
  CHECK(w.ok({"compare", "one", "--markdown"}).out.starts_with("| arm |"));
  CHECK(w.ok({"compare", "one", "--csv"}).out.starts_with("arm,parameters,train_flops_per_token"));
  CHECK(w.ok({"compare", "one", "--latex"}).shows("min\\_gru"));
}

TEST_CASE("cli sweep: by tune_seeds one seed chooses, the others train what it has chosen, by one worker and two") {
  const StudyWorld w;
  w.study(std::string(kStudy) + "eval: {baselines: false}\n");
  w.ok({"sweep", "study.yaml", "-o", "all", "-q", "--jobs", "2"});
  const auto all = w.results("all");
  w.study(std::string(kStudy) + "tune_seeds: 1\neval: {baselines: false}\n");
  const Ended dry = w.ok({"sweep", "study.yaml", "-o", "one", "--dry-run", "--jobs", "1"});
  CHECK(dry.shows("6 runs (2 arms, 2 points, 2 seeds, of which 1 chooses), 1 at a time"));
  w.ok({"sweep", "study.yaml", "-o", "one", "-q", "--jobs", "1"});
  {
    Process first(w.command({"sweep", "study.yaml", "-o", "two", "--jobs", "1", "-q"}), w.in);
    Process second(w.command({"sweep", "study.yaml", "-o", "two", "--jobs", "1", "-q"}), w.in);
    for (Process* p : {&first, &second}) {
      const Ended r = p->wait();
      CHECK_MESSAGE((r.code == 0 || r.code == 8), r.err);
    }
  }
  const auto results = w.results("one");
  REQUIRE(results.size() == 6);
  CHECK(w.results("two") == results);
  for (const auto& [file, text] : results) CHECK_MESSAGE(all.at(file) == text, file);
  const json status = json::parse(w.ok({"sweep", "status", "one", "--json"}).out);
  REQUIRE(status.at("runs").size() == 6);
  for (const json& r : status.at("runs")) CHECK(r.at("status") == "done");
  const json t = w.table("one");
  for (const json& arm : t.at("arms")) {
    const std::string name = arm.at("arm"), chosen = arm.at("chosen").at("optim.lr");
    std::string least;
    double bits = 100;
    for (const char* lr : {"3e-3", "1e-2"})
      if (const double v = json::parse(results.at(name + ".lr-" + lr + ".s1.json"))["chosen_on"]["bits_per_char"];
          v < bits)
        bits = v, least = lr;
    CHECK(chosen == least);
    CHECK(arm.at("scores").size() == 2);
    CHECK(results.contains(name + ".lr-" + chosen + ".s2.json"));
  }
  CHECK(w.ok({"compare", "one"}).shows("what is tuned is chosen by seed 1 on val"));
  // Later all of them may be wanted: what is done stays.
  w.study(std::string(kStudy) + "eval: {baselines: false}\n");
  w.ok({"sweep", "study.yaml", "-o", "one", "-q"});
  CHECK(w.results("one") == all);
}

TEST_CASE("cli sweep: seeds are pairs, each run has its own, and the program's own train gives the same") {
  const StudyWorld w;
  w.study(std::string(kStudy).substr(0, std::string(kStudy).find("tune")));
  w.ok({"sweep", "study.yaml", "-o", "s", "-q", "--set", "train.max_steps=6"});
  std::map<std::string, json> r;
  for (const auto& [file, text] : w.results("s")) r[file] = json::parse(text);
  REQUIRE(r.size() == 4);
  CHECK(r["gru.s1.json"]["data_order_sha256"] == r["min_gru.s1.json"]["data_order_sha256"]);
  CHECK(r["gru.s1.json"]["data_order_sha256"] != r["gru.s2.json"]["data_order_sha256"]);
  CHECK(w.table("s").at("arms").at(1).at("paired") == true);
  CHECK(r["gru.s2.json"]["steps"] == 6);
  w.ok({"train", "base.yaml", "-q", "--name", "alone", "--set", "train.max_steps=6", "--set", "data.seed=2", "--set",
        "train.seed=2", "--set", "model.layers[0].mixer={type: min_gru}"});
  const json alone = json::parse(w.ok({"eval", "runs/alone", "--split", "test", "--no-baselines", "--json"}).out);
  CHECK(alone.at("bits_per_char") == r["min_gru.s2.json"]["reported"]["bits_per_char"]);
}

TEST_CASE("cli sweep: where training chooses tokens otherwise, its loss stands beside the causal one") {
  const StudyWorld w;
  w.study(
      "base: base.yaml\n"
      "arms:\n"
      "  plain: {}\n"
      "  chooses: {'model.layers[0].ffn': {type: moe_expert_choice, experts: 2, factor: 1}}\n"
      "seeds: 1\n"
      "eval: {baselines: false}\n");
  w.ok({"sweep", "study.yaml", "-o", "s", "-q", "--set", "train.max_steps=4"});
  const auto of = [&](const char* run) { return json::parse(w.results("s").at(run)); };
  CHECK_FALSE(of("plain.s1.json")["reported"].contains("training_choice"));
  const json r = of("chooses.s1.json");
  CHECK_FALSE(r["chosen_on"].contains("training_choice"));
  CHECK(r["reported"]["training_choice"]["bits_per_char"] != r["reported"]["bits_per_char"]);
  const json arms = w.table("s").at("arms");
  CHECK(arms[0]["training_choice"].is_null());
  CHECK(arms[1]["training_choice"] == r["reported"]["training_choice"]["bits_per_char"]);
}

TEST_CASE("cli sweep: a run that fails is told with its code and last words, and costs the others nothing") {
  const StudyWorld w;
  w.study(
      "base: base.yaml\n"
      "arms:\n"
      "  plain: {}\n"
      "  wild: {optim.lr: 100, optim.weight_decay: 10, optim.clip: 0, train.nonfinite: abort}\n"
      "seeds: 2\n"
      "eval: {baselines: false}\n");
  const Ended r = w.ends({"sweep", "study.yaml", "-o", "s"}, 6, {"wild.s1: train ended with exit code 6"});
  CHECK(r.shows("2 of 4 runs done, 2 failed"));
  CHECK(r.shows("failed: wild.s2: train ended with exit code 6: "));
  const json f = json::parse(slurp(w.scratch.path / "s/failed/wild.s1.json"));
  CHECK(f.at("exit_code") == 6);
  CHECK(f.at("last_lines").size() >= 1);
  CHECK(w.effllm({"sweep", "status", "s"}).shows("failed: wild.s1"));
  const json t = w.table("s");
  CHECK(t.at("arms").at(1).at("reason") == "every run diverged");
  CHECK(t.at("arms").at(1).at("verdict") == "no verdict");
  CHECK(t.at("arms").at(0).at("scores").size() == 2);
  w.ends({"sweep", "study.yaml", "-o", "s", "-q"}, 6);  // it stays failed, and is said again
  fs::remove(w.scratch.path / "s/work/wild.s1/log.txt");
  w.ends({"sweep", "study.yaml", "-o", "s", "-q"}, 6);
  CHECK_FALSE(fs::exists(w.scratch.path / "s/work/wild.s1/log.txt"));  // nothing ran
  w.ends({"sweep", "study.yaml", "-o", "s", "-q", "--retry"}, 6);
  CHECK(fs::exists(w.scratch.path / "s/work/wild.s1/log.txt"));
}

TEST_CASE("cli sweep: budgets in FLOPs and in seconds give each arm the steps that they pay for") {
  const StudyWorld w;
  const std::string arms =
      "base: %.yaml\narms: {narrow: , wide: {model.d_model: 48}}\nseeds: 1\neval: {baselines: false}\n";
  for (const char* budget : {"max_flops: 3e8", "max_time: 0.5"}) {
    std::string base = slurp(w.scratch.path / "base.yaml"), study = arms;
    spill(w.scratch.path / "budget.yaml", base.replace(base.find("max_steps: 40"), 13, budget));
    w.study(study.replace(study.find('%'), 1, "budget"));
    const std::string folder = std::string(budget).substr(4, 4);
    const json plan = json::parse(w.ok({"sweep", "study.yaml", "-o", folder, "--dry-run", "--json"}).out);
    CHECK(plan.at("predicted_s").get<double>() > 0);
    w.ok({"sweep", "study.yaml", "-o", folder, "-q", "--jobs", "1"});
    const auto steps = [&](const std::string& arm) {
      return json::parse(w.results(folder).at(arm + ".s1.json")).at("steps").get<int64_t>();
    };
    CHECK_MESSAGE(steps("narrow") > steps("wide"), budget);
    const json t = w.table(folder);
    CHECK(t.at("arms").at(1).at("notes").at(0).get<std::string>().starts_with("trained on "));
    if (folder == "time") continue;
    const double spent =
        t.at("arms").at(1).at("train_flops_per_token").get<double>() * 4 * 32 * static_cast<double>(steps("wide"));
    CHECK(spent >= 3e8);
    CHECK(spent < 3.3e8);
  }
}

TEST_CASE("cli sweep: arms of equal time are measured once, and stay as they were measured") {
  const StudyWorld w;
  w.study(
      "base: base.yaml\narms: {plain: {train.batch: 16}, deep: {train.batch: 16, model.block: {ffn: {type: mlp, "
      "expand: 8}}}}\n"
      "seeds: 1\nmatch: {what: time, to: plain, tol: 1, step: 16}\neval: {baselines: false}\n");
  const Words sweep = {"sweep", "study.yaml", "-o", "s", "-q", "--jobs", "1", "--set", "train.max_steps=3"};
  const Words dry = with(sweep, {"--dry-run", "--json"});
  Ended first = w.effllm(sweep);
  for (int i = 0; i < 5 && first.says("times scatter"); ++i) first = w.effllm(sweep);  // on a machine that is busy
  REQUIRE_MESSAGE(first.code == 0, first.err);
  const std::string kept = slurp(w.scratch.path / "s/match/sizes.json");
  const json size = json::parse(kept).at("arms").at("deep");
  CHECK(size.at("value").get<int>() % 16 == 0);
  CHECK(size.at("ratio").get<double>() > 0);
  const json plan = json::parse(w.ok(dry).out);
  CHECK(plan.at("arms").at(1).at("overrides").back() ==
        json{{"key", "model.d_model"}, {"value", std::to_string(size.at("value").get<int>())}});
  CHECK(plan.at("arms").at(1).at("matched").get<std::string>().ends_with(" than plain in time"));
  w.ok(sweep);
  CHECK(slurp(w.scratch.path / "s/match/sizes.json") == kept);
  CHECK(w.ok({"check", "study.yaml"}).shows("ok, 2 runs of 2 arms"));
}

TEST_CASE("cli sweep: a damaged result is told before anything runs, and once it is removed comes again") {
  const StudyWorld w;
  w.study("base: base.yaml\narms: {plain: }\nseeds: 2\neval: {max_tokens: 100, baselines: false}\n");
  w.ok({"sweep", "study.yaml", "-o", "s", "-q", "--set", "train.max_steps=2"});
  const auto results = w.results("s");
  const fs::path file = w.scratch.path / "s/results/plain.s2.json";
  spill(file, results.at("plain.s2.json").substr(0, 200));
  fs::remove(w.scratch.path / "s/results/plain.s1.json");
  for (const Words& also : {Words{}, Words{"--dry-run"}, Words{"--retry"}})
    w.ends(with({"sweep", "study.yaml", "-o", "s", "-q", "--set", "train.max_steps=2"}, also), 3,
           {"s/results/plain.s2.json is damaged", "Remove it: `effllm sweep` then scores the run again"});
  CHECK_FALSE(fs::exists(w.scratch.path / "s/results/plain.s1.json"));
  for (const char* other : {"compare", "report"}) w.ends({other, "s"}, 3, {"s/results/plain.s2.json is damaged"});
  w.ends({"sweep", "status", "s"}, 3, {"s/results/plain.s2.json is damaged"});
  fs::remove(file);
  w.ok({"sweep", "study.yaml", "-o", "s", "-q", "--set", "train.max_steps=2"});
  CHECK(w.results("s") == results);
}

TEST_CASE("cli sweep: a signal while steps are timed ends it at once, with nothing begun") {
  const StudyWorld w;
  w.study(
      "base: base.yaml\narms: {plain: {model.d_model: 768, train.context: 512, train.batch: 64, train.lanes: 1}}\n");
  Process slow(w.command({"sweep", "study.yaml", "-o", "s", "--threads", "1"}), w.in);
  REQUIRE(await_text(w.scratch.path / "s/plan.json", "\"runs\""));
  slow.signal(SIGTERM);
  const Ended r = slow.wait();
  CHECK(r.code == 75);
  CHECK_MESSAGE(r.says("stopped while steps were timed: no run has begun"), r.err);
  CHECK(fs::is_empty(w.scratch.path / "s/runs"));
}

TEST_CASE("cli sweep: another study in the same folder is refused key by key, more runs are not") {
  const StudyWorld w;
  const std::string text =
      "base: base.yaml\n"
      "arms: {plain: {train.max_steps: 2}}\n"
      "seeds: 1\n"
      "eval: {max_tokens: 100, baselines: false}\n";
  w.study(text);
  w.ok({"sweep", "study.yaml", "-o", "s", "-q"});
  const auto before = w.results("s");
  const auto other = [&](const std::string& from, const std::string& to) {
    std::string changed = text;
    w.study(changed.replace(changed.find(from), from.size(), to));
  };
  other("max_steps: 2", "max_steps: 3");
  w.ends({"sweep", "study.yaml", "-o", "s", "-q"}, 2,
         {"arm plain: train.max_steps: 2 -> 3", "What has begun may not change, nor go:"});
  w.ends({"sweep", "study.yaml", "-o", "s", "-q", "--dry-run"}, 2, {"train.max_steps: 2 -> 3"});
  other("max_tokens: 100", "max_tokens: 200");
  w.ends({"sweep", "study.yaml", "-o", "s", "-q"}, 2, {"eval.max_tokens: 100 -> 200"});
  other("plain:", "plane:");
  w.ends({"sweep", "study.yaml", "-o", "s", "-q"}, 2, {"arm plain: plain.s1 is no run any more"});
  w.study(text);
  w.ends({"sweep", "study.yaml", "-o", "s", "-q", "--set", "optim.lr=2e-3"}, 2, {"arm plain: optim.lr: "});
  other("seeds: 1", "seeds: 2");
  w.ok({"sweep", "study.yaml", "-o", "s", "-q"});
  auto after = w.results("s");
  CHECK(after.size() == 2);
  after.erase("plain.s2.json");
  CHECK(after == before);
}

TEST_CASE("cli sweep: all that is wrong is told before anything runs, and a dry run writes nothing") {
  const StudyWorld w;
  const auto refused = [&](const std::string& text, int code, const Words& says) {
    w.study(text);
    w.ends({"sweep", "study.yaml", "-o", "s"}, code, says);
    CHECK_FALSE(fs::exists(w.scratch.path / "s"));
  };
  const std::string head = "base: base.yaml\narms:\n  plain: {}\n";
  refused(head + "  wrong: {model.d_modle: 32}\n", 2,
          {"study.yaml:4:17: error: ", "`d_modle`. Did you mean `d_model`?"});
  refused(head + "  wrong: {optim.lr: fast}\n", 2, {"study.yaml:4:"});
  refused(head + "  wrong: {\"model.layers[5].mixer\": {type: gru}}\n", 2, {"study.yaml:4:"});
  refused(head + "tune: {optim.lr: [1e-3, no]}\n", 2, {"study.yaml:4:"});
  refused(head + "  far: {data.corpus: nowhere}\n", 3, {"arm far: ", "nowhere"});
  refused(head + "  long: {train.context: 100000}\n", 2, {"study.yaml:4:"});
  refused(head + "eval: {split: val}\n", 2, {"checkpoints would be chosen on val, which the study reports"});
  refused(head + "match: {what: params, to: nobody}\n", 2, {"`nobody` is neither a size nor an arm"});
  refused(head + "match: {what: params, to: 100, tol: 0.01}\n", 2, {"arm plain comes no nearer than model.d_model 8"});
  refused("base: nowhere.yaml\narms: {a: }\n", 2, {"study.yaml:1:7: error: "});
  w.ends({"sweep"}, 2, {"a study is missing"});
  w.ends({"sweep", "status", "nowhere"}, 3, {"is no folder of a study"});
  w.ends({"compare", "nowhere"}, 3, {"is no folder of a study"});

  w.study(head +
          "  wide: {model.d_model: 40}\n  gla: {\"model.layers[0].mixer\": {type: gla, heads: 4}}\nmatch: {what: "
          "params, to: wide, tol: 0.2, step: 4}\n");
  const json plan = json::parse(w.ok({"sweep", "study.yaml", "-o", "s", "--dry-run", "--json"}).out);
  CHECK_FALSE(fs::exists(w.scratch.path / "s"));
  CHECK(plan.at("predicted_s").get<double>() > 0);
  CHECK(plan.at("runs").size() == 9);
  const json& arms = plan.at("arms");
  CHECK(arms.at(0).at("parameters") == arms.at(1).at("parameters"));  // the same model, once solved for
  CHECK(arms.at(0).at("matched").get<std::string>().starts_with("model.d_model 40: 0.0 % "));
  CHECK(arms.at(1).at("matched") == "");
  const double ratio = arms.at(2).at("parameters").get<double>() / arms.at(1).at("parameters").get<double>();
  CHECK(ratio > 0.8);
  CHECK(ratio < 1.25);
  CHECK(w.effllm({"sweep", "study.yaml", "--dry-run"}).shows("9 runs (3 arms, 1 point, 3 seeds), "));
  CHECK(w.ok({"check", "study.yaml"}).shows("study.yaml: ok, 9 runs of 3 arms"));
}
