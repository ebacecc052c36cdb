// A result belongs to a text, to where its splits end and where its documents begin: what differs is refused, and what
// is measured all the same has a file of its own.

#include "cli/trained.h"
#include "support/mutate.h"

using namespace effllm::test;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

// A run on own.txt, half of it for training, with an evaluation of the test split.
struct Trained : World {
  fs::path run = scratch.path / "runs/r";
  std::string own_result;

  Trained() {
    prepare({"--train", "0.5", "--val", "0.25"});
    ok(train());
    ok({"eval", "runs/r", "--split", "test", "--no-baselines"});
    own_result = slurp(run / "eval/test-windows.json");
  }
  static Words train(const Words& more = {}) {
    return with({"train", "tiny.yaml", "-q", "--name", "r", "--resume", "auto"}, more);
  }
  void prepare(const Words& more) const { ok(with({"data", "prepare", "own.txt", "--force"}, more)); }
  // The corpus that is found now is refused by both, with these words, and nothing is overwritten.
  void refused(const Words& words, const Words& eval_more = {}) const {
    Words eval = with({"eval", "runs/r", "--split", "test", "--no-baselines"}, eval_more);
    const std::string journal = slurp(run / "metrics.jsonl");
    std::vector<Ended> both = {effllm(eval)};
    if (eval_more.empty()) both.push_back(effllm(train({"--set", "train.max_steps=200"})));
    for (const Ended& r : both) {
      INFO(r.err);
      CHECK(r.code == 3);
      for (const auto& w : words) CHECK(r.says(w));
      CHECK(r.says("--allow-data-mismatch"));
    }
    CHECK(slurp(run / "metrics.jsonl") == journal);
    eval.emplace_back("--allow-data-mismatch");
    ends(eval, 0, {"not the corpus that was trained on: "});
    CHECK(slurp(run / "eval/test-windows.json") == own_result);
  }
  void replace_in_manifest(const std::string& from, const std::string& to) const {
    std::string text = slurp(scratch.path / "data/own.yaml");
    REQUIRE(text.find(from) != text.npos);
    text.replace(text.find(from), from.size(), to);
    spill(scratch.path / "data/own.yaml", text);
  }
};

int files(const fs::path& folder) {
  int n = 0;
  for ([[maybe_unused]] const auto& e : fs::directory_iterator(folder)) ++n;
  return n;
}

}  // namespace

TEST_CASE("cli identity: other splits, other borders and another separator of the same text are another corpus") {
  const Trained w;
  const std::string manifest = slurp(w.scratch.path / "data/own.yaml");
  const json own = json::parse(w.own_result);
  const int64_t bytes = static_cast<int64_t>(slurp(w.scratch.path / "own.txt").size());
  check_has(own.at("data"),
            {{"train_end", bytes / 2}, {"val_end", bytes * 3 / 4}, {"separator", ""}, {"tokenizer", "char"}});
  CHECK(own.at("data").at("other_than_trained_on").empty());

  w.prepare({"--train", "0.01", "--val", "0.01"});
  w.refused({"train ended at byte " + std::to_string(bytes / 2) + ", now at " + std::to_string(bytes / 100)});
  CHECK(files(w.run / "eval") == 2);

  w.prepare({"--train", "0.5", "--val", "0.25", "--separator", "9.\\n"});
  w.refused({"the document separator was none, now `9.\\n`"});
  CHECK(files(w.run / "eval") == 3);

  spill(w.scratch.path / "data/own.yaml", manifest);  // borders edited by hand
  const std::string border = std::to_string(bytes * 3 / 4);
  w.replace_in_manifest(border + "]", std::to_string(bytes * 3 / 4 - 7) + "]");
  w.replace_in_manifest("[" + border, "[" + std::to_string(bytes * 3 / 4 - 7));
  w.refused({"val ended at byte " + border + ", now at " + std::to_string(bytes * 3 / 4 - 7)});
  CHECK(files(w.run / "eval") == 4);

  spill(w.scratch.path / "data/own.yaml", manifest);
  w.ok({"eval", "runs/r", "--split", "test", "--no-baselines"});
  w.ok(w.train({"--set", "train.max_steps=110"}));
}

TEST_CASE("cli identity: a second manifest of the same text is the same corpus only with the same splits") {
  const Trained w;
  w.prepare({"--name", "twin", "--train", "0.5", "--val", "0.25"});
  w.prepare({"--name", "other", "--train", "0.6", "--val", "0.25"});
  w.ok({"eval", "runs/r", "--corpus", "twin", "--no-baselines"});
  w.ok(w.train({"--set", "data.corpus=twin"}));
  w.refused({"train ended at byte "}, {"--corpus", "other"});
  w.ends(w.train({"--set", "data.corpus=other"}), 3);
}

TEST_CASE("cli identity: a manifest of another folder does not shadow the one that was trained on") {
  const Trained w;
  fs::create_directories(w.scratch.path / "elsewhere");
  Surroundings elsewhere = w.in;
  elsewhere.folder = w.scratch.path / "elsewhere";
  const Words eval = {"eval", "../runs/r", "--split", "test", "--no-baselines", "--json"};
  const Ended before = w.effllm(eval, &elsewhere);
  w.ok({"data", "prepare", "../own.txt", "--train", "0.9"}, &elsewhere);
  REQUIRE(fs::exists(w.scratch.path / "elsewhere/data/own.yaml"));
  const Ended after = w.ok(eval, &elsewhere);
  const json a = json::parse(before.out), b = json::parse(after.out);
  CHECK(a.at("nats_per_token") == b.at("nats_per_token"));
  CHECK(b.at("data") == json::parse(w.own_result).at("data"));
  CHECK(b.at("data").at("hash") == json::parse(slurp(w.run / "provenance.json")).at("data_hash"));
  const std::string shadow = slurp(w.scratch.path / "elsewhere/data/own.yaml");
  spill(w.scratch.path / "elsewhere/data/own.yaml", "sha256: [");
  w.ok(eval, &elsewhere);
  spill(w.scratch.path / "elsewhere/data/own.yaml", shadow);
  // Where the recorded one has changed too, the error names the one that was found, and what differs.
  w.prepare({"--train", "0.4", "--val", "0.25"});
  w.ends(eval, 3, {"/elsewhere/data/own.yaml: train ended at byte"}, &elsewhere);
  w.ends({"train", "../tiny.yaml", "--runs", "../runs", "--name", "r", "--resume", "auto"}, 3, {}, &elsewhere);
}

TEST_CASE("cli identity: who allows another corpus goes on with it, the old best no longer counts, and it is kept") {
  const Trained w;
  w.prepare({"--train", "0.3", "--val", "0.25"});
  w.ends({"train", "tiny.yaml", "--name", "r", "--resume", "auto", "--allow-data-mismatch", "--set",
          "train.max_steps=120"},
         0, {"trained on other data from here on; until step 100: train ended at byte", "the best loss starts anew"});
  CHECK(slurp(w.run / "metrics.jsonl").find("until step 100: train ended at byte") != std::string::npos);
  w.ends({"eval", "runs/r", "--no-baselines"}, 0,
         {"the run was trained on other data before:\nuntil step 100: train ended at byte"});
  CHECK(json::parse(slurp(w.run / "eval/val-windows.json")).at("data").at("trained_on_before") != "");
  w.ok(w.train({"--set", "train.max_steps=130"}));  // it is the run's corpus now
}

TEST_CASE("cli identity: of a checkpoint that records only the text, that is compared, and it is said") {
  const Trained w;
  const fs::path best = w.run / "ckpt/best.safetensors";
  copy_with_metadata(best, best, [](MetadataMap& m) {
    m["format_version"] = "1";
    for (const char* key : {"samples", "data_splits", "data_train_end", "data_val_end", "data_separator"}) m.erase(key);
  });
  w.ends({"eval", "runs/r", "--split", "test", "--no-baselines"}, 0,
         {"does not say where splits and documents end, which format version 1 did not record"});
  CHECK(slurp(w.run / "eval/test-windows.json") == w.own_result);  // what it belongs to is not known
  CHECK(files(w.run / "eval") == 2);
  spill(w.scratch.path / "own.txt", slurp(w.scratch.path / "own.txt") + "line 7: the quick brown fox.\n");
  w.prepare({"--train", "0.5", "--val", "0.25"});
  w.ends({"eval", "runs/r", "--split", "test"}, 3);
}

TEST_CASE(
    "cli identity: a disk that is full while a corpus is prepared is said in the system's words, and nothing is lost") {
  const World w;
  const std::string manifest = slurp(w.scratch.path / "data/own.yaml"), text = slurp(w.scratch.path / "own.txt");
  spill(w.scratch.path / "longer.txt", text + text);
  Surroundings full = w.in;
  full.file_limit = static_cast<int64_t>(text.size());
  w.ends({"data", "prepare", "longer.txt", "--name", "own", "--force"}, 5, {"File too large"}, &full);
  CHECK(slurp(w.scratch.path / "data/own.yaml") == manifest);
  CHECK(slurp(w.scratch.path / "data/own.txt") == text);
  CHECK(files(w.scratch.path / "data") == 2);
}
