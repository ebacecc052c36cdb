// What has results is one JSON document; lists, corpora and threads are what they are said to be.
#include "cli/trained.h"
#include "objectives/objective.h"
#include "optim/optimizer.h"
#include "projections/projection.h"

using namespace effllm::test;
using nlohmann::json;

TEST_CASE("cli data and list: sizes add up, every name has a row") {
  const World w;
  const json own = json::parse(w.effllm({"data", "show", "own", "--json"}).out);
  int64_t bytes = 0;
  for (const char* split : {"train", "val", "test"}) bytes += own.at("splits").at(split).at("bytes").get<int64_t>();
  CHECK(bytes == own.at("bytes"));
  CHECK(bytes == static_cast<int64_t>(slurp(w.scratch.path / "own.txt").size()));
  w.ok({"data", "prepare", "own.txt", "--name", "b", "--train", "0.5", "--val", "0.25", "--separator", "9.\\n",
        "--json", "-q"});
  CHECK(json::parse(w.effllm({"data", "show", "b", "--json"}).out).at("splits").at("train").at("documents") > 10);
  CHECK(own.at("sources").empty());
  const std::string manifest = slurp(w.scratch.path / "data/own.yaml");
  std::string told = manifest;
  told.replace(told.find("sources: []"), 11, "sources: [a shelf, a library]");
  spill(w.scratch.path / "data/told.yaml", told);
  CHECK(json::parse(w.effllm({"data", "show", "told", "--json"}).out).at("sources") == json({"a shelf", "a library"}));
  CHECK(w.effllm({"data", "show", "told"}).shows("sources: a shelf, a library\n"));
  w.ok({"data", "prepare", "own.txt", "--name", "own"});  // the same again
  for (const Words& other : {Words{"own.txt", "--train", "0.5"}, {"own.txt", "--separator", ":"}, {"tiny.yaml"}}) {
    Words words = with({"data", "prepare", "--name", "own"}, other);
    w.ends(words, 2, {"data/own.yaml exists with another ", "--force"});
    CHECK(slurp(w.scratch.path / "data/own.yaml") == manifest);
    words.emplace_back("--force");
    w.ok(words);
    CHECK(slurp(w.scratch.path / "data/own.yaml") != manifest);
    w.ok({"data", "prepare", "own.txt", "--name", "own", "--force"});
  }
  spill(w.scratch.path / "data/notes.txt", "mine");
  w.ends({"data", "prepare", "own.txt", "--name", "notes"}, 2);
  CHECK(slurp(w.scratch.path / "data/notes.txt") == "mine");
  w.ends({"data", "prepare", "nothing.txt"}, 3);
  w.ends({"data", "prepare", "own.txt", "--train", "0.9", "--val", "0.2"}, 2);
  w.ends({"data", "show", "nothing"}, 3);
  for (const char* kind : {"mixers", "ffns", "crosses", "projections", "objectives", "optimizers", "schedules",
                           "orders", "tokenizers", "protocols"}) {
    const json rows = json::parse(w.effllm({"list", kind, "--json"}).out);
    const Ended markdown = w.ok({"list", kind, "--markdown"});
    w.ok({"list", kind});
    CHECK(rows.size() >= 1);
    for (const json& row : rows) {
      CHECK_FALSE(row.at("name").get<std::string>().empty());
      CHECK(markdown.shows("| " + row.at("name").get<std::string>()));
    }
    CHECK(w.effllm({"list"}).shows(kind));
  }
  const auto check_long = [&](const char* kind, const auto& all) {
    const json rows = json::parse(w.effllm({"list", kind, "--long", "--json"}).out);
    REQUIRE(rows.size() == all.names().size());
    for (const json& row : rows) {
      CHECK_FALSE(row.at("source").template get<std::string>().empty());
      const auto options = all.find(row.at("name").template get<std::string>()).options();
      CHECK(row.at("options").size() == describe(*options).size());
    }
  };
  check_long("optimizers", effllm::all_optimizers);
  check_long("objectives", effllm::all_objectives);
  check_long("projections", effllm::all_projections);
}

TEST_CASE("cli: --json gives one document for every command that has results") {
  const TrainedWorld w;
  const json ready = w.read({"train", "tiny.yaml", "--dry-run"});
  const json described = w.read({"describe", "tiny.yaml"});
  CHECK(ready.at("parameters") == described.at("total").at("parameters"));
  CHECK(ready.at("tokens_per_step") == 8 * 24);
  CHECK(ready.at("config_yaml").get<std::string>().find("d_model: 16") != std::string::npos);
  const json checked = w.read({"check", "tiny.yaml", "tiny.yaml"});
  REQUIRE(checked.size() == 2);
  for (const json& j :
       {checked.at(0), described, w.read({"describe", "runs/tiny"})})  // one number for one configuration
    CHECK(j.at("training_bytes") == ready.at("training_bytes"));
  CHECK(checked.at(0).at("parameters") == described.at("total").at("parameters"));
  const Ended wrong = w.ends({"check", "tiny.yaml", "nothing.yaml", "--json"}, 2);
  CHECK(json::parse(wrong.out).at(0).at("exit_code") == 0);
  CHECK(json::parse(wrong.out).at(1).at("exit_code") == 2);
  CHECK(json::parse(wrong.out).at(1).at("error").get<std::string>().find("nothing.yaml") != std::string::npos);
  CHECK(w.read({"export", "runs/tiny", "-o", "out"}).at("model") == "out/model.safetensors");
  CHECK(w.read({"list"}).size() == 14);
  for (const char* kind : {"mixers", "ffns"}) {
    const json brief = w.read({"list", kind}), full = w.read({"list", kind, "--long"});
    REQUIRE(brief.size() == full.size());
    for (size_t i = 0; i < full.size(); ++i) {
      CHECK(full.at(i).at("name") == brief.at(i).at("name"));
      CHECK_FALSE(brief.at(i).contains("options"));
      CHECK(full.at(i).contains("deviations"));
      CHECK_FALSE(full.at(i).at("source").get<std::string>().empty());
      for (const json& option : full.at(i).at("options")) CHECK(option.contains("meaning"));
    }
  }
  const std::string markdown = w.effllm({"list", "mixers", "--long", "--markdown"}).out;
  CHECK(markdown.find("### gla: ") != std::string::npos);
  CHECK(markdown.find("- source: fla-org/flash-linear-attention@") != std::string::npos);
  CHECK(markdown.find("| rope_theta | float | 10000 |") != std::string::npos);
}

TEST_CASE("cli: numbers of threads that can't be meant are refused or cut down") {
  const World w;
  Surroundings odd = w.in;
  odd.variables = {{"EFFLLM_THREADS", "abc"}};
  w.ends({"version"}, 2, {"EFFLLM_THREADS must be an integer above 0, not `abc`"}, &odd);
  w.ok({"version", "--threads", "1"}, &odd);
  const Ended many = w.ok({"version", "--threads", "1000000"});
  CHECK(many.err.starts_with("warning: 1000000 threads on "));
  CHECK(w.effllm({"describe", "tiny.yaml", "--threads", "1"}).shows(" with 1 thread\n"));
  odd.variables = {{"OMP_WAIT_POLICY", "active"}};
  CHECK(w.effllm({"doctor", "--threads", "2"}, &odd).shows("set OMP_WAIT_POLICY=passive"));
  odd.variables = {{"OMP_WAIT_POLICY", "PASSIVE"}};
  CHECK(w.effllm({"doctor"}, &odd).out.find("threads spin") == std::string::npos);
}
