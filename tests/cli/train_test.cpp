// What training writes where, how it takes signals, and what streams it can do without.
#include <csignal>
#include <regex>

#include "base/json.h"
#include "cli/system.h"
#include "store/hdf5_read.h"
#include "store/journal.h"

using namespace effllm::test;
namespace fs = std::filesystem;

namespace {

const Words kEndless = {
    "train", "-q", "tiny.yaml", "--name", "r", "--resume", "auto", "--set", "train.max_steps=100000000"};

}  // namespace

TEST_CASE("cli train: results go to stdout, progress and what comes next to stderr, nothing of it with --quiet") {
  const World w;
  const Ended r = w.ok({"train", "tiny.yaml", "--set", "train.max_steps=40"});
  CHECK(r.shows("runs/tiny: 40 steps, 7.68 K tokens in "));
  // A loss is told in both units wherever it is told, and the best is that of the evaluation.
  std::smatch best, evaluated;
  REQUIRE(std::regex_search(r.out, best, std::regex(R"(best val loss (\S+ nats/token, \S+ bits/char)\n)")));
  REQUIRE(std::regex_search(r.err, evaluated,
                            std::regex(R"(step 40  val loss (\S+ nats/token, \S+ bits/char)  \(best\))")));
  CHECK(best[1] == evaluated[1]);
  CHECK_FALSE(has(r.out + r.err, "bits/token"));
  CHECK(r.says(std::string("next:  ") + kBinary + " eval runs/tiny --split test "));
  CHECK_FALSE(r.says("\x1b"));  // no terminal
  CHECK_FALSE(r.says("\r"));
  std::string kept = slurp(w.scratch.path / "tiny.yaml");  // but for the corpus' full path
  kept.replace(kept.find("corpus: own"), 11, "corpus: " + (w.scratch.path / "data/own.yaml").string());
  CHECK(slurp(w.scratch.path / "runs/tiny/config.yaml") == kept);

  const Ended quiet = w.ok(
      {"train", "tiny.yaml", "-q", "--json", "--name", "second", "--runs", "elsewhere", "--set", "train.max_steps=40"});
  CHECK(quiet.err.empty());
  const auto j = nlohmann::json::parse(quiet.out);
  CHECK(j.at("run") == "elsewhere/second");
  CHECK(j.at("tokens") == 40 * 8 * 24);
  CHECK(j.at("interrupted") == false);
  CHECK(j.at("best_val").get<double>() > 0);
  const fs::path run = w.scratch.path / "elsewhere/second";
  const effllm::JournalData rows = effllm::read_journal(run / "metrics.jsonl");
  for (const auto& t : rows.tables)
    for (const auto& [name, values] : t.columns)
      CHECK(effllm::read_hdf5_series(run / "metrics.h5", t.kind + "/" + name) == values);
}

TEST_CASE("cli train: --name is checked as the configuration's is") {
  const World w;
  for (const char* name : {"a/b", "../escaped", ".hid", "my run", "-x"}) {
    INFO(std::string(name));
    w.ends({"train", "tiny.yaml", std::string("--name=") + name}, 2,
           {"--name: error: the name `" + std::string(name) + "` can't be a folder"});
  }
  CHECK_FALSE(fs::exists(w.scratch.path / "runs"));
  CHECK_FALSE(fs::exists(w.scratch.path / "escaped"));
}

TEST_CASE("cli train: eval.sample_tokens 0 writes no samples, and what only they would need may be wrong") {
  const World w;
  w.ok({"train", "tiny.yaml", "--set", "train.max_steps=4", "--set", "train.sample_every=1", "--set",
        "eval.sample_tokens=0", "--set", "eval.prompt=\"%\""});
  CHECK(fs::is_empty(w.scratch.path / "runs/tiny/samples"));
  w.ends({"check", "tiny.yaml", "--set", "eval.sample_tokens=-1"}, 2);
  CHECK(has(w.effllm({"list", "options"}).out, "Sets the tokens of a sample; 0: none are written."));
}

TEST_CASE("cli train, data prepare: what is suggested next works") {
  const World w;
  const auto next_of = [](const Ended& r) {
    const size_t at = r.err.find("next:  ");
    REQUIRE_MESSAGE(at != std::string::npos, r.err);
    return r.err.substr(at + 7, r.err.find('\n', at) - at - 7);
  };
  const auto run = [&](const std::string& command) {
    const Ended r = run_command({"/bin/sh", "-c", command}, w.in);
    CHECK_MESSAGE(r.code == 0, (command + "\n" + r.err));
  };
  // Without a test split, the one that was evaluated while training.
  w.ok({"data", "prepare", "own.txt", "--name", "two", "--train", "0.9", "--val", "0.1"});
  const Ended trained = w.effllm({"train", "tiny.yaml", "--set", "train.max_steps=2", "--set", "data.corpus=two"});
  const std::string commands = next_of(trained), evaluation = commands.substr(0, commands.find("   "));
  CHECK(evaluation.ends_with(" eval runs/tiny --split val"));
  run(evaluation + " --no-baselines");
  // Without configs/quickstart.yaml, with it, without a val split, and of a text that is too short for it.
  const auto prepare = [&](const std::string& name, const Words& more, const std::string& file = "own.txt") {
    return next_of(w.effllm(with({"data", "prepare", file, "--name", name}, more)));
  };
  CHECK(prepare("a", {}) == "a configuration that says data.corpus: a");
  fs::create_directories(w.scratch.path / "configs");
  fs::copy(kSourceDir + std::string("/configs/quickstart.yaml"), w.scratch.path / "configs/quickstart.yaml");
  run(prepare("b", {}) + " --dry-run");
  run(prepare("c", {"--data", "other place"}) + " --dry-run");
  const std::string whole = prepare("d", {"--train", "1.0", "--val", "0"});
  CHECK(whole.ends_with(" --set data.corpus=d --set eval.split=train"));
  run(whole + " --dry-run");
  spill(w.scratch.path / "short.txt", std::string(100, 'a'));
  CHECK(prepare("e", {}, "short.txt") == "a configuration that says data.corpus: e");
}

TEST_CASE("cli train: --set overrides and is written down, seeds and nothing else decide the numbers") {
  const World w;
  const auto train = [&](const std::string& name, const Words& set) {
    w.ok(with({"train", "tiny.yaml", "-q", "--name", name, "--set", "train.max_steps=20"}, sets(set)));
    return effllm::read_hdf5_series(w.scratch.path / "runs" / name / "metrics.h5", "train/loss");
  };
  const auto first = train("a", {});
  CHECK(train("b", {"train.save_every=7", "eval.max_tokens=100"}) == first);
  CHECK(train("c", {"train.seed=2"}) != first);
  CHECK(train("d", {"data.seed=2"}) != first);
  CHECK(train("e", {"model.layers[1].mixer={type: min_gru}", "~optim.lr"}) != first);
  CHECK(slurp(w.scratch.path / "runs/e/overrides.txt") ==
        "train.max_steps=20\nmodel.layers[1].mixer={type: min_gru}\n~optim.lr\n");
  CHECK(has(slurp(w.scratch.path / "runs/e/config.resolved.yaml"), "lr: 0.001"));
}

TEST_CASE("cli train: TERM, HUP, USR1 and INT end it with exit 75 and a checkpoint, with or without nohup") {
  const World w;
  const fs::path run = w.scratch.path / "runs/r";
  for (const int number : {SIGTERM, SIGHUP, SIGUSR1, SIGINT}) {
    fs::remove_all(run);
    Process p(w.command(kEndless), w.in);
    REQUIRE(await_text(run / "metrics.jsonl", "\"type\":\"train\""));
    p.signal(number);
    CHECK(p.wait().code == 75);
    const auto status = nlohmann::json::parse(slurp(run / "status.json"));
    CHECK(status.at("status") == "interrupted");
    const auto checkpoint =
        run / "ckpt" / ("step_" + std::to_string(1000000000 + status.at("step").get<int>()).substr(1) + ".safetensors");
    CHECK(w.parameters_of(fs::relative(checkpoint, w.scratch.path)).size() == 64);
  }
  fs::remove_all(run);
  Surroundings nohup = w.in;
  nohup.nohup = true;
  Words rarely = kEndless;
  rarely.insert(rarely.end(), {"--set", "train.save_every=0"});
  Process p(w.command(rarely), nohup);
  REQUIRE(await_text(run / "metrics.jsonl", "\"type\":\"train\""));
  p.signal(SIGHUP);   // is nothing to it
  p.signal(SIGUSR2);  // a checkpoint, and on
  for (int i = 0; i < 12000 && fs::is_empty(run / "ckpt"); ++i) usleep(5000);
  CHECK_FALSE(fs::is_empty(run / "ckpt"));
  CHECK(p.running());
  p.signal(SIGTERM);
  CHECK(p.wait().code == 75);
}

TEST_CASE("cli train: TERM before there is a run ends the program as the shell says, and leaves nothing") {
  const World w;
  const std::string pipe = (w.scratch.path / "pipe.yaml").string();
  REQUIRE(run_command({"/usr/bin/env", "mkfifo", pipe}, w.in).code == 0);
  Process p(w.command({"train", pipe}), w.in);  // waits for who writes its configuration
  usleep(50000);
  CHECK(p.running());
  p.signal(SIGTERM);
  CHECK(p.wait().code == 128 + SIGTERM);
  CHECK_FALSE(fs::exists(w.scratch.path / "runs"));
}

TEST_CASE("cli train: a second process in the same folder ends with exit 8 and names the first") {
  const World w;
  const fs::path journal = w.scratch.path / "runs/r/metrics.jsonl";
  Process first(w.command(kEndless), w.in);
  REQUIRE(await_text(journal, "\"type\":\"train\""));
  w.ends(kEndless, 8, {"runs/r is in use by process ", "choose another folder"});
  REQUIRE(await_text(journal, "\"step\":40,"));  // the checkpoint of step 20 is there
  first.signal(SIGKILL);
  CHECK(first.wait().code == 128 + SIGKILL);
  // The lock died with it.
  Process third(w.command(kEndless), w.in);
  REQUIRE(await_text(journal.parent_path() / "log.txt", "going on from step"));
  third.signal(SIGTERM);
  CHECK(third.wait().code == 75);
}

TEST_CASE("cli train: messages that nobody can see stop nothing, results that can't be written are exit 5") {
  const World w;
  for (const char* where : {"-", "/dev/full"}) {
    INFO(std::string(where));
    Surroundings s = w.in;
    s.err_to = where;
    w.ok({"train", "tiny.yaml", "--name", "e", "--set", "train.max_steps=20"}, &s);
    CHECK(effllm::read_journal(w.scratch.path / "runs/e/metrics.jsonl").bad_lines == 0);
    w.ends({"trian"}, 2, {}, &s);
    s.err_to = "";
    s.out_to = where;
    w.ends({"train", "tiny.yaml", "--name", "o", "--set", "train.max_steps=20"}, 5, {}, &s);
    CHECK(has(slurp(w.scratch.path / "runs/o/status.json"), "done"));
    for (const Words& words :
         {Words{"version"}, {"list", "mixers", "--long"}, {"describe", "tiny.yaml"}, {"check", "tiny.yaml"}})
      w.ends(words, 5, {}, &s);
    fs::remove_all(w.scratch.path / "runs");
  }
}
