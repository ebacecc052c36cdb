// What goes wrong is said with file, place and advice, ends with the documented exit code, and loses nothing.
#include "cli/system.h"

using namespace effllm::test;

TEST_CASE("cli: an unknown command, flag or list is met with a suggestion and exit code 2") {
  const World w;
  w.ends({"trian"}, 2, {"Did you mean `train`?"});
  w.ends({"train", "--confg", "tiny.yaml"}, 2, {"Did you mean `--config`?"});
  w.ends({"list", "mixer"}, 2, {"Did you mean `mixers`?"});
  w.ends({"data", "prepair", "x"}, 2, {"Did you mean `prepare`?"});
  w.ends({"data", "show", "own", "--jsn"}, 2, {"Did you mean `--json`?"});
  w.ends({"train", "tiny.yaml", "-runs", "x"}, 2, {"takes no -runs. Did you mean `--runs`?"});
  w.ends({"train", "tiny.yaml", "--runs", "tiny.yaml"}, 5,
         {"the run folder tiny.yaml/tiny can't be made: Not a directory"});
  w.ends({"train", "tiny.yaml", "--resume", "always"}, 2, {"auto"});
}

TEST_CASE("cli: what is wrong with a command line is said in sentences that name the command or flag") {
  const World w;
  for (const auto& [words, message] : std::vector<std::pair<Words, std::string>>{
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
    w.ends(words, 2, {"error: `", message});
  }
}

TEST_CASE("cli: a configuration that may be a word or a flag is needed once, and help says so") {
  const World w;
  for (const Words& words : {Words{"train", "--help"}, {"bench", "train", "--help"}}) {
    const std::string help = w.effllm(words).out;
    const size_t first = help.find("REQUIRED");
    REQUIRE(first != help.npos);
    CHECK(help.find("REQUIRED", first + 1) == help.npos);
    CHECK(help.find("config TEXT REQUIRED") < help.find("-c,--config TEXT  "));
  }
}

TEST_CASE("cli: check refuses a warm-up longer than the run with its place, a run says it, keeps it and goes on") {
  const World w;
  w.ends({"check", "tiny.yaml", "--set", "train.max_steps=4"}, 2,
         {"tiny.yaml:11:29: error: optim.schedule.warmup is 5 steps, but the run has 4"});
  CHECK_FALSE(w.effllm({"check", "tiny.yaml", "--set", "train.max_steps=4"}).says("error: tiny.yaml"));
  w.ends({"check", "tiny.yaml", "--set", "model.layers[0].mixer={type: attention, value_residual: 0.5}"}, 2,
         {"error: `values` of layer 0 are for later layers, but none takes them"});
  w.ok({"check", "tiny.yaml", "--set", "train.max_steps=5"});
  w.ends({"check", "tiny.yaml", "--set", "~train.max_steps", "--set", "train.max_epochs=0.01"}, 2);
  w.ends({"train", "tiny.yaml", "--set", "train.max_steps=4"}, 0, {"warning: optim.schedule.warmup is 5 steps"});
  const std::string journal = slurp(w.scratch.path / "runs/tiny/metrics.jsonl");
  CHECK(journal.find("optim.schedule.warmup is 5 steps") != journal.npos);
}

TEST_CASE("cli: check says that a step would last minutes") {
  const World w;
  const Ended r = w.ok({"check", "tiny.yaml", "--set", "model.d_model=512", "--set", "train.batch=1048576"});
  CHECK_MESSAGE(r.shows("one step of 25165824 tokens takes at least"), r.out);
}

TEST_CASE("cli: a command that is named without its part prints what there is") {
  const World w;
  for (const auto& [words, part] :
       std::vector<std::pair<Words, std::string>>{{{}, "train"}, {{"data"}, "prepare"}, {{"bench"}, "roofline"}}) {
    const Ended r = w.ok(words);
    CHECK(r.shows("Usage: effllm"));
    CHECK_MESSAGE(r.shows(part), r.out);
    CHECK(r.err.empty());
  }
}

TEST_CASE("cli: a corpus that is missing or changed is a data error, exit code 3") {
  World w;
  w.ok({"train", "-q", "-c", "tiny.yaml", "--name", "r", "--set", "train.max_steps=20"});
  w.ends({"train", "-c", "tiny.yaml", "--set", "data.corpus=nowhere"}, 3, {"nowhere"});
  std::string manifest = slurp(w.scratch.path / "data/own.yaml");
  manifest.replace(manifest.find("fetch: \"\""), 9, "fetch: scripts/get_it.sh far");
  manifest.replace(manifest.find("file: own.txt"), 13, "file: far.txt");
  spill(w.scratch.path / "data/far.yaml", manifest);
  w.ends({"train", "-c", "tiny.yaml", "--set", "data.corpus=far"}, 3, {"data/far.txt", "run `scripts/get_it.sh far`"});
  spill(w.scratch.path / "data/own.txt", slurp(w.scratch.path / "data/own.txt") + "x");
  w.ends({"train", "-c", "tiny.yaml", "--name", "r", "--resume", "auto"}, 3);
  w.ends({"eval", "runs/r"}, 3);
}
