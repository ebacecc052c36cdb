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
}

TEST_CASE("cli: what is wrong with a command line is said in sentences that name the command or flag") {
  const World w;
  for (const auto& [words, message] : std::vector<std::pair<std::vector<std::string>, std::string>>{
           {{"train"},
            "`effllm train` needs CONFIG. It gives the configuration, a YAML file.\nSee `effllm train --help`"},
           {{"export", "runs/r"}, "`effllm export` needs --output. It names the folder to write."},
           {{"data", "prepare"}, "`effllm data prepare` needs FILE. It names the text file."},
           {{"train", "tiny.yaml", "--threads", "0"}, "`--threads` must be an integer above 0, not `0`"},
           {{"train", "tiny.yaml", "--set"}, "`--set` needs a value. It overrides a key"},
           {{"train", "tiny.yaml", "--resume", "atuo"}, "`--resume` must be auto, not `atuo`. Did you mean `auto`?"},
           {{"generate", "runs/r", "-n", "1e3"}, "must be an integer above 0, not `1e3`; write 1000"},
           {{"generate", "runs/r", "--top-k", "many"}, "`--top-k` takes an integer that 64 bits can hold, not `many`"},
           {{"generate", "runs/r", "--top-p", "half"}, "`--top-p` takes a number that 64 bits can hold, not `half`"},
           {{"generate", "runs/r", "--greedy", "-t", "1"}, "`--temperature` and `--greedy` exclude each other"},
           {{"plot", "runs/r", "--height", "1"}, "`--height` must be an integer of 3 to 200, not `1`"},
           {{"plot", "runs/r", "-x", "steps"}, "must be step, tokens, wall_s, not `steps`. Did you mean `step`?"},
           {{"list", "mixers", "ffns"}, "`effllm list` takes no `ffns`\nSee `effllm list --help`"},
           {{"version", "--json=maybe"}, "`--json` takes no value"}}) {
    const Ended r = w.effllm(words);
    INFO(r.err);
    CHECK(r.code == 2);
    CHECK(says(r, "error: `"));
    CHECK(says(r, message));
  }
}

TEST_CASE("cli: a configuration that may be a word or a flag is needed once, and help says so") {
  const World w;
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"train", "--help"}, {"bench", "train", "--help"}}) {
    const std::string help = w.effllm(words).out;
    const size_t first = help.find("REQUIRED");
    REQUIRE(first != help.npos);
    CHECK(help.find("REQUIRED", first + 1) == help.npos);
    CHECK(help.find("config TEXT REQUIRED") < help.find("-c,--config TEXT  "));
  }
}

TEST_CASE("cli: check refuses a warm-up longer than the run with its place, a run says it, keeps it and goes on") {
  const World w;
  const Ended checked = w.effllm({"check", "tiny.yaml", "--set", "train.max_steps=4"});
  CHECK(checked.code == 2);
  CHECK(says(checked, "tiny.yaml:11:29: error: optim.schedule.warmup is 5 steps, but the run has 4"));
  CHECK(w.effllm({"check", "tiny.yaml", "--set", "train.max_steps=5"}).code == 0);
  CHECK(w.effllm({"check", "tiny.yaml", "--set", "~train.max_steps", "--set", "train.max_epochs=0.01"}).code == 2);
  const Ended ran = w.effllm({"train", "tiny.yaml", "--set", "train.max_steps=4"});
  CHECK(ran.code == 0);
  CHECK(says(ran, "warning: optim.schedule.warmup is 5 steps"));
  const std::string journal = read_text(w.scratch.path / "runs/tiny/metrics.jsonl");
  CHECK(journal.find("optim.schedule.warmup is 5 steps") != journal.npos);
}

TEST_CASE("cli: check says that a step would last minutes") {
  const World w;
  const Ended r = w.effllm({"check", "tiny.yaml", "--set", "model.d_model=512", "--set", "train.batch=1048576"});
  CHECK_MESSAGE(r.code == 0, r.err);
  CHECK_MESSAGE(r.out.find("one step of 25165824 tokens takes at least") != r.out.npos, r.out);
}

TEST_CASE("cli: a command that is named without its part prints what there is") {
  const World w;
  for (const auto& [words, part] : std::vector<std::pair<std::vector<std::string>, std::string>>{
           {{}, "train"}, {{"data"}, "prepare"}, {{"bench"}, "roofline"}}) {
    const Ended r = w.effllm(words);
    CHECK(r.code == 0);
    CHECK(r.out.find("Usage: effllm") != r.out.npos);
    CHECK_MESSAGE(r.out.find(part) != r.out.npos, r.out);
    CHECK(r.err.empty());
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
  CHECK_MESSAGE(says(other, "model.d_model: 16 -> 32"), other.err);
  const auto best = w.scratch.path / "runs/r/ckpt/best.safetensors";
  write_text(best, read_text(best).substr(0, 5000));
  CHECK(w.effllm({"generate", "runs/r", "-p", "line"}).code == 4);
}

TEST_CASE("cli: results that can't be written are an error") {
  const World w;
  const Ended r = run_command({"/bin/sh", "-c", std::string(kBinary) + " list mixers > /dev/full"}, w.in);
  CHECK(r.code == 5);
}
