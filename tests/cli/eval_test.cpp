// Evaluations that meet trouble, evaluations of a file, and where a run puts its own.
#include <set>

#include "cli/trained.h"
#include "data/corpus.h"
#include "store/hdf5_read.h"
#include "store/journal.h"

using namespace effllm::test;
using nlohmann::json;

namespace {

struct ShortRun : TrainedWorld {
  explicit ShortRun(const Words& changes = {}) : TrainedWorld(with({"train.max_steps=6"}, changes)) {}
  std::string split(effllm::Split s) const {
    return std::string(effllm::Corpus::open((scratch.path / "data/own.yaml").string()).text(s));
  }
};

void program(const std::filesystem::path& file, const std::string& script) {
  write_text(file, "#!/bin/sh\n" + script + "\n");
  std::filesystem::permissions(file, std::filesystem::perms::owner_all);
}

}  // namespace

TEST_CASE("cli eval: a baseline that fails costs neither the result nor the others, and is said") {
  const ShortRun w;
  const json right = w.read({"eval", "runs/tiny"});
  Surroundings broken = w.in;
  program(w.scratch.path / "bin/7zz", "echo no memory >&2; exit 8");
  program(w.scratch.path / "bin/bzip3", "kill -9 $$");
  broken.variables = {{"PATH", (w.scratch.path / "bin").string() + ":/usr/bin:/bin"}};
  const Ended shown = w.ok({"eval", "runs/tiny"}, &broken);
  const size_t result = shown.out.find("nats/token"), table = shown.out.find("bits/byte after reading"),
               missing = shown.out.find(
                   "left out: PPMd (7-Zip, order 16, 256 MiB): exit code 8: no memory\n"
                   "left out: bzip3 (one block): ended by signal 9\n");
  CHECK(result < table);
  CHECK(table < missing);
  CHECK(missing != shown.out.npos);
  const json j = w.read({"eval", "runs/tiny"}, &broken);
  CHECK(j.at("nats_per_token") == right.at("nats_per_token"));
  CHECK(j.at("baselines").size() == 2 + 3 * 2);
  CHECK(j.at("left_out").size() == 2);
  CHECK(json::parse(read_text(w.scratch.path / "runs/tiny/eval/val-windows.json")) == j);
}

TEST_CASE("cli eval: where no compressor is installed, the libraries' remain") {
  const ShortRun w;
  Surroundings bare = w.in;
  bare.variables = {{"PATH", "/nowhere"}};
  const json j = w.read({"eval", "runs/tiny"}, &bare);
  std::set<std::string> names;
  for (const json& b : j.at("baselines")) names.insert(b.at("name"));
  CHECK(names.contains("PPMd (libarchive, order 6, 16 MiB)"));
  CHECK(names.size() == 2 + 4);
  REQUIRE(j.at("left_out").size() == 1);
  CHECK(j.at("left_out")[0].at("reason") == "it is not installed (Debian's package bzip3)");
}

TEST_CASE("cli eval: a training split with symbols that the model lacks leaves out the n-gram models alone") {
  const ShortRun w;
  std::string text = read_text(w.scratch.path / "own.txt");
  text.replace(10, 1, "%");
  write_text(w.scratch.path / "other.txt", text);
  w.ok({"data", "prepare", "other.txt"});
  const json j = w.read({"eval", "runs/tiny", "--corpus", "other", "--allow-data-mismatch"});
  CHECK(j.at("nats_per_token") == w.read({"eval", "runs/tiny", "--no-baselines"}).at("nats_per_token"));
  REQUIRE(j.at("left_out").size() == 2);
  CHECK(j.at("left_out")[0].at("name") == "Kneser-Ney 2-gram");
  CHECK(j.at("left_out")[0].at("reason").get<std::string>().starts_with("corpus `other`, split train: "));
  CHECK(j.at("baselines").size() == 5 * 2);
}

TEST_CASE("cli eval --text: a file of the test split's text gives the test split's figures") {
  const ShortRun w;
  write_text(w.scratch.path / "held out.txt", w.split(effllm::Split::test));
  const json split = w.read({"eval", "runs/tiny", "--split", "test"}),
             file = w.read({"eval", "runs/tiny", "--text", "held out.txt"});
  for (const char* key : {"nats_per_token", "tokens", "bytes", "characters", "protocol", "baselines", "left_out"})
    CHECK_MESSAGE(split.at(key) == file.at(key), key);
  CHECK(split.at("baselines").size() == 2 + 5 * 3);
  CHECK(file.at("file") == "held out.txt");
  CHECK_FALSE(file.contains("split"));
  Words kept;
  for (const auto& e : std::filesystem::directory_iterator(w.scratch.path / "runs/tiny/eval"))
    kept.push_back(e.path().filename().string());
  std::ranges::sort(kept);
  const std::string hash = file.at("file_sha256").get<std::string>().substr(0, 12);
  CHECK(kept == Words{"test-windows.json", "text_" + hash + "-windows.json"});
  const Ended shown = w.effllm({"eval", "runs/tiny", "--text", "held out.txt", "--max-tokens", "100"});
  CHECK(shown.shows(" on held out.txt: windows of 24 tokens, first 100 targets\n"));
}

TEST_CASE("cli eval --text: what can't be scored is an error that names the file and the place") {
  const ShortRun w;
  write_text(w.scratch.path / "a.txt", "line 4\xc3\xa9\n");
  write_text(w.scratch.path / "b.txt", "");
  for (const auto& [file, code, says] :
       std::vector<std::tuple<std::string, int, std::string>>{{"a.txt", 3, "U+00E9"},
                                                              {"a.txt", 3, "a.txt: "},
                                                              {"a.txt", 3, "byte 6"},
                                                              {"b.txt", 3, "b.txt: the text is empty"},
                                                              {"c.txt", 3, "there is no file c.txt"}}) {
    const Ended r = w.ends({"eval", "runs/tiny", "--text", file}, code, {says});
    CHECK(r.out.empty());
  }
  for (const Words& more : {Words{"--split", "val"}, {"--corpus", "own"}, {"--allow-data-mismatch"}}) {
    w.ends(with({"eval", "runs/tiny", "--text", "own.txt"}, more), 2);
  }
}

TEST_CASE("cli eval --text: without the corpus of the training, the model is scored all the same") {
  const ShortRun w;
  write_text(w.scratch.path / "t.txt", w.split(effllm::Split::test));
  const json right = w.read({"eval", "runs/tiny", "--text", "t.txt"});
  const auto poor = [&](const char* why) {
    const json j = w.read({"eval", "runs/tiny", "--text", "t.txt"});
    CHECK(j.at("nats_per_token") == right.at("nats_per_token"));
    CHECK(j.at("baselines").size() == 5);
    for (const json& b : j.at("baselines")) CHECK(b.at("before") == "nothing");
    REQUIRE(j.at("left_out").size() == 1);
    CHECK(j.at("left_out")[0].at("reason").get<std::string>().find(why) != std::string::npos);
  };
  w.ok({"data", "prepare", "t.txt", "--name", "own", "--force"});
  poor("the model was trained on another corpus than ");
  std::filesystem::remove_all(w.scratch.path / "data");
  poor("own");
}

TEST_CASE("cli train: evaluations on the training split are rows of their own, resumed or not") {
  const ShortRun w({"eval.split=train", "train.eval_every=2", "train.log_every=1"});
  const auto file = w.scratch.path / "runs/tiny/metrics.jsonl";
  const auto check = [&](int64_t steps) {
    const effllm::JournalData journal = effllm::read_journal(file);
    std::vector<int64_t> all, even;
    for (int64_t i = 1; i <= steps; ++i) {
      all.push_back(i);
      if (i % 2 == 0) even.push_back(i);
    }
    REQUIRE(journal.find("train"));
    CHECK(journal.find("train")->step == all);
    CHECK_FALSE(journal.find("train")->find("scored_tokens"));
    REQUIRE(journal.find("eval_train"));
    CHECK(journal.find("eval_train")->step == even);
    CHECK(effllm::read_hdf5_series(w.scratch.path / "runs/tiny/metrics.h5", "eval_train/bpc").size() == even.size());
  };
  check(6);
  w.ok({"train", "tiny.yaml", "-q", "--resume", "auto", "--set", "eval.split=train", "--set", "train.eval_every=2",
        "--set", "train.log_every=1", "--set", "train.max_steps=8"});
  check(8);
  const json curves = json::parse(w.effllm({"plot", "runs/tiny", "--json"}).out);
  REQUIRE(curves.size() == 2);
  CHECK(curves[1].at("name") == "eval_train/bpc");
  w.ok({"plot", "runs/tiny", "-m", "eval_train/loss"});
}
