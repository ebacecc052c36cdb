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
    std::string yaml = read_text(scratch.path / "tiny.yaml");
    write_text(scratch.path / "tiny.yaml", yaml.replace(yaml.find("corpus: own"), 11, "corpus: " + other));
    ok({"train", "tiny.yaml", "-q", "--name", "r", "--set", "data.corpus=my", "--set", "train.max_steps=20"});
    elsewhere.folder = scratch.path / "elsewhere";
    fs::create_directories(elsewhere.folder);
    write_text(elsewhere.folder / "text.txt", read_text(scratch.path / "own.txt") + "line 1: another fox.\n");
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
    CHECK(read_text(run / "overrides.txt") == "data.corpus=" + manifest.string() + "\ntrain.max_steps=20\n");
  }
};

}  // namespace

TEST_CASE("cli resume elsewhere: a corpus that --set named is kept by its full path, whatever is there") {
  const SetCorpus w;
  CHECK(read_text(w.run / "overrides.txt") == "data.corpus=" + w.manifest.string() + "\ntrain.max_steps=20\n");
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
      write_text(w.run / "overrides.txt", "data.corpus=my\ntrain.max_steps=20\n");
      w.goes_on(w.resume(w.run / file, *from));
    }
  // With all that belongs to it in another place, by its name there.
  const fs::path moved = w.elsewhere.folder / "moved";
  fs::create_directories(moved);
  for (const char* part : {"data", "runs", "own.txt", "tiny.yaml"}) fs::rename(w.scratch.path / part, moved / part);
  Surroundings there = w.in;
  there.folder = moved;
  w.ok({"train", "tiny.yaml", "--name", "r", "--resume", "auto"}, &there);
  CHECK(read_text(moved / "runs/r/overrides.txt") ==
        "data.corpus=" + (moved / "data/my.yaml").string() + "\ntrain.max_steps=20\n");
  // Another text under its name, in its place, is refused as ever.
  write_text(moved / "own.txt", read_text(moved / "own.txt") + "line 1: another fox.\n");
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
  CHECK(read_text(w.run / "overrides.txt") == "train.max_steps=25\n" + own + "\n");
  CHECK(w.resume(w.run / "config.yaml", w.elsewhere, {"data={tokenizer: char}", "train.max_steps=25"}).code == 0);
  // Named ones are those meant, here or there.
  for (const std::string set : {"data.corpus=my", "data={tokenizer: char, corpus: my}"}) {
    const Ended other = w.resume(w.run / "config.yaml", w.elsewhere, {set, "train.max_steps=25"});
    CHECK(other.code == 3);
    CHECK_MESSAGE(other.says("than " + (w.elsewhere.folder / "data/my.yaml").string()), other.err);
  }
  // An edit that loses to what is kept is said.
  std::string yaml = read_text(w.run / "config.yaml");
  const std::string written = (w.scratch.path / "data/own.yaml").string();
  REQUIRE(has(yaml, written));
  write_text(w.scratch.path / "edited.yaml",
             yaml.replace(yaml.find(written), written.size(), (w.elsewhere.folder / "data/my.yaml").string()));
  w.ends({"train", "edited.yaml", "--name", "r", "--resume", "auto", "--set", "train.max_steps=25"}, 0,
         {"in edited.yaml has no effect: runs/r/overrides.txt holds --set " + own});
}

TEST_CASE("cli resume elsewhere: the configuration in a run's folder trains from there, whatever corpus it named") {
  for (const std::string other : {"own", "nowhere"}) {
    const SetCorpus w(other);
    w.ok({"train", (w.run / "config.yaml").string(), "-q", "--runs", w.elsewhere.folder.string(), "--name", "anew",
          "--set", "train.max_steps=2"},
         &w.empty);
    const fs::path expected = other == "own" ? w.scratch.path / "data/own.yaml" : w.manifest;
    CHECK(has(read_text(w.elsewhere.folder / "anew/config.resolved.yaml"), "corpus: " + expected.string() + "\n"));
  }
}
