// `effllm runs` and the log: what the runs themselves say.
#include <algorithm>
#include <map>
#include <regex>
#include <sstream>

#include "cli/trained.h"
#include "store/file.h"

using namespace effllm::test;
using nlohmann::json;

TEST_CASE("cli runs: a table of what the runs' own files say, and what is none of them is said") {
  const TrainedWorld w;
  const auto runs = w.scratch.path / "runs";
  const json status = json::parse(slurp(runs / "tiny/status.json"));
  w.ok({"train", "tiny.yaml", "-q", "--name", "killed", "--set", "train.max_steps=2"});
  json now = json::parse(slurp(runs / "killed/status.json"));
  CHECK(now.at("status") == "done");
  now["status"] = "running", now["progress"] = 0.25;  // as a kill leaves it
  spill(runs / "killed/status.json", now.dump());
  std::filesystem::create_directories(runs / "notes");
  std::filesystem::create_directories(runs / ".cache");
  spill(runs / "todo.txt", "mine");
  for (const auto& [name, text] : std::vector<std::pair<std::string, std::string>>{
           {"cut", R"({"status":"done","step":60,)"}, {"wrong", R"({"status":"done","step":"60"})"}, {"bare", "{}"}}) {
    std::filesystem::create_directories(runs / name);
    spill(runs / name / "status.json", text);
    spill(runs / name / "provenance.json", R"({"parameters": 5})");
  }
  std::filesystem::create_directories(runs / "lost");
  spill(runs / "lost/metrics.jsonl", "");
  const json list = w.read({"runs"});
  CHECK(list.at("passed_over").size() == 1);
  CHECK(list.at("passed_over").at(0).at("name") == "notes");
  std::map<std::string, json> by_name;
  for (const json& r : list.at("runs")) by_name[r.at("name")] = r;
  REQUIRE(by_name.size() == 6);
  const json& tiny = by_name.at("tiny");
  // What a loss is of, and in which unit: those of other texts, tokens or splits do not compare with it.
  check_has(tiny, {{"status", "done"},
                   {"best_loss", status.at("best_val")},
                   {"parameters", w.read({"describe", "tiny.yaml"}).at("total").at("parameters")},
                   {"tokens", 60 * 8 * 24},
                   {"step", 60},
                   {"wall_s", status.at("wall_s")},
                   {"unit", "nats/token"},
                   {"corpus", "own"},
                   {"data_hash", json::parse(slurp(runs / "tiny/provenance.json")).at("data_hash")},
                   {"tokenizer", "char"},
                   {"split", "val"},
                   {"protocol", "windows"},
                   {"eval_tokens", 24},
                   {"eval_stride", nullptr},
                   {"eval_max_tokens", 0},
                   {"reset", "none"}});
  CHECK(tiny.at("train_loss").get<double>() > 0);
  CHECK_FALSE(tiny.contains("problem"));
  CHECK(by_name.at("killed").at("status") == "killed");
  CHECK(by_name.at("cut").at("corpus").is_null());
  for (const char* name : {"cut", "wrong", "bare", "lost"}) {
    INFO(by_name.at(name).dump());
    CHECK(by_name.at(name).at("status") == "damaged");
    CHECK(by_name.at(name).at("problem").get<std::string>().find("runs/" + std::string(name) + "/status.json") !=
          std::string::npos);
  }
  CHECK(by_name.at("cut").at("parameters") == 5);
  const Ended text = w.ok({"runs"});
  CHECK(std::ranges::count(text.out, '\n') == 7);
  CHECK(text.shows("killed at 25 %"));
  CHECK(text.says("notes: no run folder"));
  CHECK(text.says("cut: runs/cut/status.json is not a JSON object"));
  CHECK(text.says("wrong: runs/wrong/status.json: `step` is string"));
  CHECK(w.effllm({"runs", "-q"}).err.find("notes") == std::string::npos);
  CHECK(text.shows("best loss (nats/token)"));
  CHECK_FALSE(text.says("losses compare only"));
  w.ok({"train", "tiny.yaml", "-q", "--runs", "mixed", "--set", "train.max_steps=2"});
  w.ok({"train", "tiny.yaml", "-q", "--runs", "mixed", "--name", "bytes", "--set", "train.max_steps=2", "--set",
        "data.tokenizer=byte", "--set", "eval.split=test"});
  w.ok({"data", "prepare", "own.txt", "--data", "elsewhere", "--train", "0.5"});
  w.ok({"train", "tiny.yaml", "-q", "--runs", "mixed", "--name", "half", "--set", "train.max_steps=2", "--set",
        "data.corpus=elsewhere/own.yaml"});
  const Ended mixed = w.effllm({"runs", "--runs", "mixed"});
  CHECK(mixed.err ==
        "losses compare only where corpus, tokens and evaluation are the same; these differ in corpus, data.tokenizer, "
        "eval.split\n");
  CHECK(mixed.shows("test, windows"));
  for (const json& r : w.read({"runs", "--runs", "mixed"}).at("runs"))  // one name, two corpora
    CHECK(mixed.out.find("own " + r.at("data_hash").get<std::string>().substr(0, 8)) != mixed.out.npos);
  // One that trains holds its lock; to look does not disturb it.
  {
    const effllm::FileLock lock(runs / "killed");
    const json now_running = w.read({"runs"});
    for (const json& r : now_running.at("runs"))
      if (r.at("name") == "killed") CHECK(r.at("status") == "running");
  }
  std::filesystem::create_directories(w.scratch.path / "none");
  CHECK(w.effllm({"runs", "--runs", "none"}).out == "none: no runs yet\n");
  CHECK(w.read({"runs", "--runs", "none"}).at("runs").empty());
  w.ends({"runs", "--runs", "nowhere"}, 3);
}

TEST_CASE("cli runs: evaluations that measure something else do not compare, and are told by what is no default") {
  const TrainedWorld w;
  const auto train = [&](const std::string& name, const Words& set) {
    w.ok(with(with({"train", "tiny.yaml", "-q", "--runs", "mixed", "--name", name}, sets(set)),
              {"--set", "train.max_steps=2"}));
  };
  const auto told = [&](Words names) {  // what differs, after the same sentence
    const std::string sentence =
        "losses compare only where corpus, tokens and evaluation are the same; these differ in ";
    std::filesystem::remove_all(w.scratch.path / "some");
    std::filesystem::create_directories(w.scratch.path / "some");
    for (const auto& n : names)
      std::filesystem::copy(w.scratch.path / "mixed" / n, w.scratch.path / "some" / n,
                            std::filesystem::copy_options::recursive);
    const std::string err = w.effllm({"runs", "--runs", "some"}).err;
    if (err.empty()) return err;
    CHECK(err.starts_with(sentence));
    return err.substr(std::min(err.size(), sentence.size()));
  };
  const auto shown = [&](const std::string& part) { return w.effllm({"runs", "--runs", "some"}).shows(part); };
  train("plain", {}), train("same", {"eval.tokens=24"}), train("short", {"eval.tokens=8"});
  train("first", {"eval.max_tokens=100"}), train("reset", {"data.reset=document"});
  train("slide", {"eval.protocol=sliding"}), train("half", {"eval.protocol=sliding", "eval.stride=12"});
  train("slow", {"eval.protocol=sliding", "eval.stride=3"});
  train("pass", {"eval.protocol=carried"}), train("pieces", {"eval.protocol=carried", "eval.tokens=8"});
  CHECK(told({"plain", "same"}).empty());
  CHECK(shown("val, windows  "));
  CHECK(told({"slide", "half"}).empty());   // half a window is the default
  CHECK(told({"pass", "pieces"}).empty());  // one pass, in whatever pieces
  CHECK(told({"plain", "short"}) == "eval.tokens\n");
  CHECK(shown("val, windows of 24"));
  CHECK(shown("val, windows of 8"));
  CHECK(told({"plain", "first"}) == "eval.max_tokens\n");
  CHECK(shown("val, windows, first 100"));
  CHECK(told({"plain", "reset"}) == "data.reset\n");
  CHECK(shown("val, windows, reset at documents"));
  CHECK(told({"slide", "slow"}) == "eval.stride\n");
  CHECK(shown("val, sliding, stride 12"));
  CHECK(shown("val, sliding, stride 3"));
  CHECK(told({"first", "pass"}) == "eval.protocol, eval.max_tokens\n");
}

TEST_CASE("cli train: each line of the log has its time") {
  const TrainedWorld w;
  std::istringstream log(slurp(w.scratch.path / "runs/tiny/log.txt"));
  const std::regex stamped(R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ  \S.*)");
  int lines = 0;
  for (std::string line; std::getline(log, line); ++lines) CHECK_MESSAGE(std::regex_match(line, stamped), line);
  CHECK(lines >= 3);
}
