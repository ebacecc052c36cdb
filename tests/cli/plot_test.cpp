// `effllm plot`: the series are those of the journal, panels by quantity, colours where they are wanted.
#include <algorithm>

#include "cli/trained.h"
#include "store/journal.h"

using namespace effllm::test;
using nlohmann::json;

TEST_CASE("cli plot: the series are the journal's, over steps, tokens or seconds, of one run or several") {
  const TrainedWorld w;
  const effllm::JournalData journal = effllm::read_journal(w.scratch.path / "runs/tiny/metrics.jsonl");
  const json series = w.read({"plot", "runs/tiny", "-m", "train/loss", "-x", "tokens"});
  CHECK(series.at(0).at("y").get<std::vector<double>>() == *journal.find("train")->find("loss"));
  CHECK(series.at(0).at("x").get<std::vector<double>>() == *journal.find("train")->find("tokens"));
  CHECK(w.read({"plot", "runs/tiny", "runs/tiny"}).size() == 4);
  CHECK(w.read({"plot", "runs/tiny", "-m", "val/loss", "-x", "wall_s"}).at(0).at("x").size() == 2);
  const Ended ascii = w.ok({"plot", "runs/tiny", "--ascii", "--width", "60", "--height", "8", "--log"});
  CHECK(std::ranges::all_of(ascii.out, [](char c) { return c == '\n' || (c >= ' ' && c <= '~'); }));
  w.ends({"plot", "nowhere"}, 3);
  CHECK(w.effllm({"plot", "nowhere"}).says("there is no such run folder"));
  w.ends({"plot", "runs/tiny", "--width", "-5"}, 2);
  CHECK(w.read({"plot", "runs/tiny", "-m", "val/bpc", "-x", "tokens"}).at(0).at("x") == json{30 * 192, 60 * 192});
  w.ok({"train", "tiny.yaml", "-q", "--name", "young", "--set", "train.max_steps=2"});
  spill(w.scratch.path / "runs/young/metrics.jsonl", "");
  w.ends({"plot", "runs/young"}, 3, {"runs/young: no rows of train/bpc or "});
  w.ends({"plot", "runs/tiny", "-m", "loss"}, 2);
}

TEST_CASE("cli plot: several metrics share a panel where they are of one quantity, and have others where not") {
  const TrainedWorld w;
  const Words words = {"plot", "runs/tiny", "-m", "train/loss", "-m", "train/lr", "-m", "val/loss"};
  const json series = w.read(words);
  REQUIRE(series.size() == 3);
  CHECK(series.at(2).at("metric") == "val/loss");
  CHECK(series.at(2).at("run") == "runs/tiny");
  const std::string out = w.effllm(with(words, {"--ascii", "--width", "60"})).out;
  const size_t loss = out.find("train/loss, val/loss\n"), lr = out.find("\ntrain/lr\n");
  REQUIRE(loss == 0);
  REQUIRE(lr != out.npos);
  CHECK(out.substr(0, lr).find("  *  train/loss\n  +  val/loss\n") != out.npos);
  CHECK(out.substr(lr).find("  *  train/lr\n") != out.npos);
  // Both axes of x end at the same step, though val/loss begins at 30.
  CHECK(w.effllm({"plot", "runs/tiny", "-m", "val/loss", "-m", "train/lr", "--ascii"}).out.find("  20 ") != out.npos);
  CHECK(w.read({"plot", "runs/tiny", "-m", "val/loss", "-m", "val/loss"}).size() == 1);
  w.ends({"plot", "runs/tiny", "-m", "val/loss", "-m", "val/none"}, 3);
}

TEST_CASE("cli plot: colours where they are wanted") {
  const TrainedWorld w;
  const auto coloured = [&](Words more, const Surroundings* in = nullptr) {
    more.insert(more.begin(), {"plot", "runs/tiny"});
    const Ended r = w.ok(more, in);
    return r.shows("\x1b[36m") && r.shows("\x1b[33m");
  };
  CHECK_FALSE(coloured({}));  // no terminal
  CHECK(coloured({"--color", "always"}));
  CHECK(coloured({"--color", "always", "--ascii"}));
  CHECK_FALSE(coloured({"--color", "never"}));
  w.ends({"plot", "runs/tiny", "--color", "often"}, 2);
  // On a terminal, which script(1) makes.
  if (run_command({"/usr/bin/env", "script", "-qec", "true", "/dev/null"}, w.in).code != 0) return;
  Surroundings terminal = w.in;
  terminal.variables = {{"TERM", "xterm"}};
  const auto on_terminal = [&](const std::string& more, const std::string& before = "") {
    const Ended r = run_command(
        {"/usr/bin/env", "script", "-qec", before + std::string(kBinary) + " plot runs/tiny" + more, "/dev/null"},
        terminal);
    CHECK(r.shows("train/bpc"));
    return r.shows("\x1b[36m");
  };
  CHECK(on_terminal(""));
  CHECK_FALSE(on_terminal(" --color never"));
  CHECK_FALSE(on_terminal("", "NO_COLOR=1 "));
  CHECK_FALSE(on_terminal("", "TERM=dumb "));
}
