// A run whose corpus --set named is the same run from every folder, and in folders of runs of earlier versions.
#include "cli/system.h"
#include "store/run_folder.h"

using namespace effllm::test;
namespace fs = std::filesystem;

namespace {

// A run on the corpus `my`, which a --set names in a configuration that names another; and a folder in which `my` is
// another text.
struct SetCorpus : World {
  fs::path run = scratch.path / "runs/r", manifest = scratch.path / "data/my.yaml";
  Surroundings empty, inside, elsewhere;

  explicit SetCorpus(const std::string& other = "own") {
    empty = inside = elsewhere = in;
    prepare("own.txt", in);
    std::string yaml = slurp(scratch.path / "tiny.yaml");
    spill(scratch.path / "tiny.yaml", yaml.replace(yaml.find("corpus: own"), 11, "corpus: " + other));
    ok({"train", "tiny.yaml", "-q", "--name", "r", "--set", "data.corpus=my", "--set", "train.max_steps=20"});
    elsewhere.folder = scratch.path / "elsewhere";
    fs::create_directories(elsewhere.folder);
    spill(elsewhere.folder / "text.txt", slurp(scratch.path / "own.txt") + "line 1: another fox.\n");
    prepare("text.txt", elsewhere);
    empty.folder = scratch.path / "empty";
    fs::create_directories(empty.folder);
    inside.folder = run;
  }
  void prepare(const std::string& text, const Surroundings& where) const {
    ok({"data", "prepare", text, "--name", "my"}, &where);
  }
  Ended resume(const fs::path& config, const Surroundings& from, const Words& set = {}) const {
    return effllm(with({"train", config.string(), "--resume", "auto"}, sets(set)), &from);
  }
  void goes_on(const Ended& r) const {
    INFO(r.err);
    CHECK(r.code == 0);
    CHECK(r.says("going on from step 20"));
    CHECK_FALSE(r.says("no effect"));
    CHECK(slurp(run / "overrides.txt") == "data.corpus=" + manifest.string() + "\ntrain.max_steps=20\n");
  }
};

}  // namespace

TEST_CASE("cli resume elsewhere: a corpus that --set named is kept by its full path, whatever is there") {
  const SetCorpus w;
  CHECK(slurp(w.run / "overrides.txt") == "data.corpus=" + w.manifest.string() + "\ntrain.max_steps=20\n");
  for (const char* file : {"config.yaml", "config.resolved.yaml"})
    for (const Surroundings* from : {&w.empty, &w.inside, &w.elsewhere, &w.in})
      w.goes_on(w.resume(w.run / file, *from));
  // The command that began it says the same again: nothing is new to the run, nothing left out.
  const Ended again = w.effllm({"train", "tiny.yaml", "--name", "r", "--resume", "auto", "--set", "data.corpus=my",
                                "--set", "train.max_steps=20"});
  w.goes_on(again);
  CHECK_FALSE(again.says("no longer"));
  CHECK_FALSE(again.says("new to the run"));
}

TEST_CASE("cli resume elsewhere: a run of an earlier version, whose overrides have a bare name, reads its own corpus") {
  const SetCorpus w;
  for (const char* file : {"config.yaml", "config.resolved.yaml"})
    for (const Surroundings* from : {&w.empty, &w.inside, &w.elsewhere, &w.in}) {
      spill(w.run / "overrides.txt", "data.corpus=my\ntrain.max_steps=20\n");
      w.goes_on(w.resume(w.run / file, *from));
    }
  // With all that belongs to it in another place, by its name there.
  const fs::path moved = w.elsewhere.folder / "moved";
  fs::create_directories(moved);
  for (const char* part : {"data", "runs", "own.txt", "tiny.yaml"}) fs::rename(w.scratch.path / part, moved / part);
  Surroundings there = w.in;
  there.folder = moved;
  w.ok({"train", "tiny.yaml", "--name", "r", "--resume", "auto"}, &there);
  CHECK(slurp(moved / "runs/r/overrides.txt") ==
        "data.corpus=" + (moved / "data/my.yaml").string() + "\ntrain.max_steps=20\n");
  // Another text under its name, in its place, is refused as ever.
  spill(moved / "own.txt", slurp(moved / "own.txt") + "line 1: another fox.\n");
  w.ok({"data", "prepare", "own.txt", "--name", "my", "--force"}, &there);
  CHECK(w.resume(moved / "runs/r/config.yaml", there).code == 3);
}

TEST_CASE("cli resume elsewhere: with --set a run keeps its corpus, unless they name one") {
  const SetCorpus w;
  const std::string own = "data.corpus=" + w.manifest.string();
  const Ended longer = w.resume(w.run / "config.yaml", w.empty, {"train.max_steps=25"});
  CHECK_MESSAGE(longer.code == 0, longer.err);
  CHECK(longer.says("of " + w.run.string() + "/overrides.txt no longer: --set train.max_steps=20\n"));
  CHECK(longer.says("new to the run: --set train.max_steps=25\n"));
  CHECK(longer.says("as " + w.run.string() + "/overrides.txt says: --set " + own + "\n"));
  CHECK(slurp(w.run / "overrides.txt") == "train.max_steps=25\n" + own + "\n");
  CHECK(w.resume(w.run / "config.yaml", w.elsewhere, {"data={tokenizer: char}", "train.max_steps=25"}).code == 0);
  // Named ones are those meant, here or there.
  for (const std::string set : {"data.corpus=my", "data={tokenizer: char, corpus: my}"}) {
    const Ended other = w.resume(w.run / "config.yaml", w.elsewhere, {set, "train.max_steps=25"});
    CHECK(other.code == 3);
    CHECK_MESSAGE(other.says("than " + (w.elsewhere.folder / "data/my.yaml").string()), other.err);
  }
}

TEST_CASE("cli resume elsewhere: the configuration in a run's folder trains from there, whatever corpus it named") {
  for (const std::string other : {"own", "nowhere"}) {
    const SetCorpus w(other);
    for (const std::string file : {"config.yaml", "config.resolved.yaml"}) {
      w.ok({"train", (w.run / file).string(), "-q", "--runs", w.elsewhere.folder.string(), "--name", file, "--set",
            "train.max_steps=2"},
           &w.empty);
      const bool as_written = other == "own" && file == "config.yaml";
      const fs::path expected = as_written ? w.scratch.path / "data/own.yaml" : w.manifest;
      CHECK(has(slurp(w.elsewhere.folder / file / "config.resolved.yaml"), "corpus: " + expected.string() + "\n"));
    }
  }
}
