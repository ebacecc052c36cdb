// A result belongs to a text, to where its splits end and where its documents begin: what differs is refused, and what
// is measured all the same has a file of its own.

#include "base/json.h"
#include "cli/system.h"
#include "support/mutate.h"

using namespace effllm::test;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

bool says(const Ended& r, const std::string& part) { return r.err.find(part) != r.err.npos; }

// A run on own.txt, half of it for training, with an evaluation of the test split.
struct Trained : World {
  fs::path run = scratch.path / "runs/r";
  std::string own_result;

  Trained() {
    prepare({"--train", "0.5", "--val", "0.25"});
    const Ended r = effllm(train());
    REQUIRE_MESSAGE(r.code == 0, r.err);
    REQUIRE(effllm({"eval", "runs/r", "--split", "test", "--no-baselines"}).code == 0);
    own_result = read_text(run / "eval/test-windows.json");
  }
  static std::vector<std::string> train(const std::vector<std::string>& more = {}) {
    std::vector<std::string> words = {"train", "tiny.yaml", "-q", "--name", "r", "--resume", "auto"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  void prepare(const std::vector<std::string>& more) const {
    std::vector<std::string> words = {"data", "prepare", "own.txt", "--force"};
    words.insert(words.end(), more.begin(), more.end());
    const Ended r = effllm(words);
    REQUIRE_MESSAGE(r.code == 0, r.err);
  }
  // The corpus that is found now is refused by both, with these words, and nothing is overwritten.
  void refused(const std::vector<std::string>& words, const std::vector<std::string>& eval_more = {}) const {
    std::vector<std::string> eval = {"eval", "runs/r", "--split", "test", "--no-baselines"};
    eval.insert(eval.end(), eval_more.begin(), eval_more.end());
    const std::string journal = read_text(run / "metrics.jsonl");
    std::vector<Ended> both = {effllm(eval)};
    if (eval_more.empty()) both.push_back(effllm(train({"--set", "train.max_steps=200"})));
    for (const Ended& r : both) {
      INFO(r.err);
      CHECK(r.code == 3);
      for (const auto& w : words) CHECK(says(r, w));
      CHECK(says(r, "--allow-data-mismatch"));
    }
    CHECK(read_text(run / "metrics.jsonl") == journal);
    eval.emplace_back("--allow-data-mismatch");
    const Ended allowed = effllm(eval);
    CHECK(allowed.code == 0);
    CHECK(says(allowed, "not the corpus that was trained on: "));
    CHECK(read_text(run / "eval/test-windows.json") == own_result);
  }
  void replace_in_manifest(const std::string& from, const std::string& to) const {
    std::string text = read_text(scratch.path / "data/own.yaml");
    REQUIRE(text.find(from) != text.npos);
    text.replace(text.find(from), from.size(), to);
    write_text(scratch.path / "data/own.yaml", text);
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
  const std::string manifest = read_text(w.scratch.path / "data/own.yaml");
  const json own = json::parse(w.own_result);
  const int64_t bytes = static_cast<int64_t>(read_text(w.scratch.path / "own.txt").size());
  CHECK(own.at("data").at("train_end") == bytes / 2);
  CHECK(own.at("data").at("val_end") == bytes * 3 / 4);
  CHECK(own.at("data").at("separator") == "");
  CHECK(own.at("data").at("tokenizer") == "char");
  CHECK(own.at("data").at("other_than_trained_on").empty());

  w.prepare({"--train", "0.01", "--val", "0.01"});
  w.refused({"train ended at byte " + std::to_string(bytes / 2) + ", now at " + std::to_string(bytes / 100)});
  CHECK(files(w.run / "eval") == 2);

  w.prepare({"--train", "0.5", "--val", "0.25", "--separator", "9.\\n"});
  w.refused({"the document separator was none, now `9.\\n`"});
  CHECK(files(w.run / "eval") == 3);

  write_text(w.scratch.path / "data/own.yaml", manifest);  // borders edited by hand
  const std::string border = std::to_string(bytes * 3 / 4);
  w.replace_in_manifest(border + "]", std::to_string(bytes * 3 / 4 - 7) + "]");
  w.replace_in_manifest("[" + border, "[" + std::to_string(bytes * 3 / 4 - 7));
  w.refused({"val ended at byte " + border + ", now at " + std::to_string(bytes * 3 / 4 - 7)});
  CHECK(files(w.run / "eval") == 4);

  write_text(w.scratch.path / "data/own.yaml", manifest);
  const Ended again = w.effllm({"eval", "runs/r", "--split", "test", "--no-baselines"});
  CHECK_MESSAGE(again.code == 0, again.err);
  CHECK(w.effllm(w.train({"--set", "train.max_steps=110"})).code == 0);
}

TEST_CASE("cli identity: a second manifest of the same text is the same corpus only with the same splits") {
  const Trained w;
  w.prepare({"--name", "twin", "--train", "0.5", "--val", "0.25"});
  w.prepare({"--name", "other", "--train", "0.6", "--val", "0.25"});
  CHECK(w.effllm({"eval", "runs/r", "--corpus", "twin", "--no-baselines"}).code == 0);
  CHECK(w.effllm(w.train({"--set", "data.corpus=twin"})).code == 0);
  w.refused({"train ended at byte "}, {"--corpus", "other"});
  CHECK(w.effllm(w.train({"--set", "data.corpus=other"})).code == 3);
}

TEST_CASE("cli identity: a manifest of another folder does not shadow the one that was trained on") {
  const Trained w;
  fs::create_directories(w.scratch.path / "elsewhere");
  Surroundings elsewhere = w.in;
  elsewhere.folder = w.scratch.path / "elsewhere";
  const std::vector<std::string> eval = {"eval", "../runs/r", "--split", "test", "--no-baselines", "--json"};
  const Ended before = w.effllm(eval, &elsewhere);
  REQUIRE(w.effllm({"data", "prepare", "../own.txt", "--train", "0.9"}, &elsewhere).code == 0);
  REQUIRE(fs::exists(w.scratch.path / "elsewhere/data/own.yaml"));
  const Ended after = w.effllm(eval, &elsewhere);
  CHECK_MESSAGE(after.code == 0, after.err);
  const json a = json::parse(before.out), b = json::parse(after.out);
  CHECK(a.at("nats_per_token") == b.at("nats_per_token"));
  CHECK(b.at("data") == json::parse(w.own_result).at("data"));
  CHECK(b.at("data").at("hash") == json::parse(read_text(w.run / "provenance.json")).at("data_hash"));
  const std::string shadow = read_text(w.scratch.path / "elsewhere/data/own.yaml");
  write_text(w.scratch.path / "elsewhere/data/own.yaml", "sha256: [");
  CHECK(w.effllm(eval, &elsewhere).code == 0);
  write_text(w.scratch.path / "elsewhere/data/own.yaml", shadow);
  // Where the recorded one has changed too, the error names the one that was found, and what differs.
  w.prepare({"--train", "0.4", "--val", "0.25"});
  const Ended none = w.effllm(eval, &elsewhere);
  CHECK(none.code == 3);
  CHECK(says(none, "/elsewhere/data/own.yaml: train ended at byte"));
  const Ended resumed =
      w.effllm({"train", "../tiny.yaml", "--runs", "../runs", "--name", "r", "--resume", "auto"}, &elsewhere);
  CHECK(resumed.code == 3);
}

TEST_CASE("cli identity: who allows another corpus goes on with it, the old best no longer counts, and it is kept") {
  const Trained w;
  w.prepare({"--train", "0.3", "--val", "0.25"});
  const Ended r = w.effllm({"train", "tiny.yaml", "--name", "r", "--resume", "auto", "--allow-data-mismatch", "--set",
                            "train.max_steps=120"});
  CHECK_MESSAGE(r.code == 0, r.err);
  CHECK(says(r, "trained on other data from here on; until step 100: train ended at byte"));
  CHECK(says(r, "the best loss starts anew"));
  CHECK(read_text(w.run / "metrics.jsonl").find("until step 100: train ended at byte") != std::string::npos);
  const Ended eval = w.effllm({"eval", "runs/r", "--no-baselines"});
  CHECK(eval.code == 0);
  CHECK(says(eval, "the run was trained on other data before:\nuntil step 100: train ended at byte"));
  CHECK(json::parse(read_text(w.run / "eval/val-windows.json")).at("data").at("trained_on_before") != "");
  CHECK(w.effllm(w.train({"--set", "train.max_steps=130"})).code == 0);  // it is the run's corpus now
}

TEST_CASE("cli identity: of a checkpoint that records only the text, that is compared, and it is said") {
  const Trained w;
  const fs::path best = w.run / "ckpt/best.safetensors";
  copy_with_metadata(best, best, [](MetadataMap& m) {
    m["format_version"] = "1";
    for (const char* key : {"samples", "data_splits", "data_train_end", "data_val_end", "data_separator"}) m.erase(key);
  });
  const Ended eval = w.effllm({"eval", "runs/r", "--split", "test", "--no-baselines"});
  CHECK_MESSAGE(eval.code == 0, eval.err);
  CHECK(says(eval, "does not say where splits and documents end, which format version 1 did not record"));
  CHECK(read_text(w.run / "eval/test-windows.json") == w.own_result);  // what it belongs to is not known
  CHECK(files(w.run / "eval") == 2);
  write_text(w.scratch.path / "own.txt", read_text(w.scratch.path / "own.txt") + "line 7: the quick brown fox.\n");
  w.prepare({"--train", "0.5", "--val", "0.25"});
  CHECK(w.effllm({"eval", "runs/r", "--split", "test"}).code == 3);
}

TEST_CASE("cli identity: a run can be run from its own folder, from anywhere: its bases and its corpus are found") {
  const World w;
  const fs::path home = w.scratch.path;
  fs::create_directories(home / "study/texts");
  fs::create_directories(home / "elsewhere");
  REQUIRE(w.effllm({"data", "prepare", "own.txt", "--data", "study/texts"}).code == 0);
  write_text(home / "study/common.yaml", read_text(home / "tiny.yaml"));
  write_text(home / "study/first.yaml",
             "base: common.yaml\nname: first\ndata: {corpus: texts/own.yaml}\ntrain: {max_steps: 40}  # short\n");
  write_text(home / "study/second.yaml", "base: first.yaml\ndata: {corpus: own}\n");
  REQUIRE(w.effllm({"train", "study/first.yaml", "-q"}).code == 0);
  fs::rename(home / "study/common.yaml", home / "study/gone.yaml");
  Surroundings elsewhere = w.in, inside = w.in;
  elsewhere.folder = home / "elsewhere";
  inside.folder = home / "runs/first";
  const std::string hash = w.parameters_of("runs/first/ckpt/step_000000040.safetensors");
  REQUIRE(hash.size() == 64);
  for (const char* file : {"config.yaml", "config.resolved.yaml"}) {
    CAPTURE(file);
    const Ended away = w.effllm({"train", std::string("../runs/first/") + file, "-q", "--runs", file}, &elsewhere);
    CHECK_MESSAGE(away.code == 0, away.err);
    CHECK(w.parameters_of(std::string("elsewhere/") + file + "/first/ckpt/step_000000040.safetensors") == hash);
    const Ended within = w.effllm({"train", file, "-q", "--runs", home / "within", "--name", file}, &inside);
    CHECK_MESSAGE(within.code == 0, within.err);
    CHECK(w.parameters_of(std::string("within/") + file + "/ckpt/step_000000040.safetensors") == hash);
    const Ended on = w.effllm({"train", file, "-q", "--runs", "..", "--resume", "auto"}, &inside);
    CHECK_MESSAGE(on.code == 0, on.err);
  }
  fs::rename(home / "study/gone.yaml", home / "study/common.yaml");
  const std::string resolved = read_text(home / "runs/first/config.resolved.yaml");
  CHECK(resolved.find("corpus: " + (home / "study/texts/own.yaml").string() + "\n") != resolved.npos);
}

TEST_CASE(
    "cli identity: a disk that is full while a corpus is prepared is said in the system's words, and nothing is lost") {
  const World w;
  const std::string manifest = read_text(w.scratch.path / "data/own.yaml"),
                    text = read_text(w.scratch.path / "own.txt");
  write_text(w.scratch.path / "longer.txt", text + text);
  Surroundings full = w.in;
  full.file_limit = static_cast<int64_t>(text.size());
  const Ended r = w.effllm({"data", "prepare", "longer.txt", "--name", "own", "--force"}, &full);
  CHECK(r.code == 5);
  CHECK_MESSAGE(says(r, "File too large"), r.err);
  CHECK(read_text(w.scratch.path / "data/own.yaml") == manifest);
  CHECK(read_text(w.scratch.path / "data/own.txt") == text);
  CHECK(files(w.scratch.path / "data") == 2);
}
