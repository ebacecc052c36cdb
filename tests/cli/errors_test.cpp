// What goes wrong is said with file, place and advice, ends with the documented exit code, and loses nothing.
#include "cli/system.h"

using namespace effllm::test;

namespace {

bool says(const Ended& r, const std::string& text) { return r.err.find(text) != r.err.npos; }

}  // namespace

TEST_CASE("cli: an unknown command, flag or list is met with a suggestion and exit code 2") {
  const World w;
  const Ended verb = w.effllm({"trian"});
  CHECK(verb.code == 2);
  CHECK(says(verb, "Did you mean `train`?"));
  const Ended flag = w.effllm({"train", "--confg", "tiny.yaml"});
  CHECK(flag.code == 2);
  CHECK(says(flag, "Did you mean `--config`?"));
  const Ended list = w.effllm({"list", "mixer"});
  CHECK(list.code == 2);
  CHECK(says(list, "Did you mean `mixers`?"));
  const Ended nested = w.effllm({"data", "prepair", "x"});
  CHECK(nested.code == 2);
  CHECK(says(nested, "Did you mean `prepare`?"));
  const Ended deep = w.effllm({"data", "show", "own", "--jsn"});
  CHECK(deep.code == 2);
  CHECK(says(deep, "Did you mean `--json`?"));
  const Ended dash = w.effllm({"train", "tiny.yaml", "-runs", "x"});
  CHECK(dash.code == 2);
  CHECK(says(dash, "takes no -runs. Did you mean `--runs`?"));
  const Ended place = w.effllm({"train", "tiny.yaml", "--runs", "tiny.yaml"});
  CHECK(place.code == 5);
  CHECK(says(place, "the run folder tiny.yaml/tiny can't be made: Not a directory"));
  const Ended protocol = w.effllm({"train", "tiny.yaml", "--resume", "always"});
  CHECK(protocol.code == 2);
  CHECK(says(protocol, "auto"));
  for (const std::vector<std::string>& words : {std::vector<std::string>{},
                                                {"train"},
                                                {"train", "tiny.yaml", "--threads", "0"},
                                                {"train", "tiny.yaml", "--set"},
                                                {"generate", "runs/r", "-n", "0"},
                                                {"list", "mixers", "ffns"}}) {
    const Ended r = w.effllm(words);
    CHECK(r.code == 2);
    CHECK(says(r, "error: "));
  }
}

TEST_CASE("cli: several faults of a configuration are reported at once, each with its place") {
  const World w;
  write_text(w.scratch.path / "bad.yaml",
             "model:\n  d_modle: 16\n  layers:\n    - mixer: {type: atention}\n    - mixer: {type: gla, heads: "
             "two}\ntrain: {batch: 0, max_steps: 5, max_tokens: 7}\n");
  const Ended r = w.effllm({"train", "-c", "bad.yaml"});
  CHECK(r.code == 2);
  CHECK(says(r, "bad.yaml:2:3"));
  CHECK(says(r, "d_model"));
  CHECK(says(r, "bad.yaml:4:"));
  CHECK(says(r, "attention"));
  CHECK(says(r, "bad.yaml:5:"));
  CHECK(says(r, "bad.yaml:6:"));
  CHECK(says(r, "exactly one of"));
  CHECK_FALSE(std::filesystem::exists(w.scratch.path / "runs"));
}

TEST_CASE("cli: --set names its place, and a bad value is an error") {
  const World w;
  const Ended r = w.effllm({"check", "tiny.yaml", "--set", "train.batch=8", "--set", "model.d_modle=3"});
  CHECK(r.code == 2);
  CHECK(says(r, "--set #2"));
  CHECK(w.effllm({"check", "tiny.yaml", "--set", "model.d_model=15"}).code == 2);  // two heads don't divide it
  CHECK(w.effllm({"check", "nothing.yaml"}).code == 2);
}

TEST_CASE("cli: a corpus that is missing or changed is a data error, exit code 3") {
  World w;
  REQUIRE(w.effllm({"train", "-q", "-c", "tiny.yaml", "--name", "r", "--set", "train.max_steps=20"}).code == 0);
  const Ended missing = w.effllm({"train", "-c", "tiny.yaml", "--set", "data.corpus=nowhere"});
  CHECK(missing.code == 3);
  CHECK(says(missing, "nowhere"));
  std::string manifest = read_text(w.scratch.path / "data/own.yaml");
  manifest.replace(manifest.find("fetch: \"\""), 9, "fetch: scripts/get_it.sh far");
  manifest.replace(manifest.find("file: own.txt"), 13, "file: far.txt");
  write_text(w.scratch.path / "data/far.yaml", manifest);
  const Ended absent = w.effllm({"train", "-c", "tiny.yaml", "--set", "data.corpus=far"});
  CHECK(absent.code == 3);
  CHECK(says(absent, "data/far.txt"));
  CHECK(says(absent, "run `scripts/get_it.sh far`"));
  write_text(w.scratch.path / "data/own.txt", read_text(w.scratch.path / "data/own.txt") + "x");
  CHECK(w.effllm({"train", "-c", "tiny.yaml", "--name", "r", "--resume", "auto"}).code == 3);
  CHECK(w.effllm({"eval", "runs/r"}).code == 3);
}

TEST_CASE("cli: checkpoints that are damaged, of another model or not there end with exit code 4") {
  World w;
  REQUIRE(w.effllm({"train", "-q", "-c", "tiny.yaml", "--name", "r", "--set", "train.max_steps=20"}).code == 0);
  CHECK(w.effllm({"generate", "runs/none", "-p", "x"}).code == 4);
  const Ended other =
      w.effllm({"train", "-c", "tiny.yaml", "--name", "r", "--resume", "auto", "--set", "model.d_model=32"});
  CHECK(other.code == 4);
  CHECK_MESSAGE(says(other, "but the model needs"), other.err);
  const auto best = w.scratch.path / "runs/r/ckpt/best.safetensors";
  write_text(best, read_text(best).substr(0, 5000));
  CHECK(w.effllm({"generate", "runs/r", "-p", "line"}).code == 4);
}

TEST_CASE("cli: results that can't be written are an error") {
  const World w;
  const Ended r = run_command({"/bin/sh", "-c", std::string(kBinary) + " list mixers > /dev/full"}, w.in);
  CHECK(r.code == 5);
}
