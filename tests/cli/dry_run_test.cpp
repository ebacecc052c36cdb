// train --dry-run of a run that would go on: what the real one says before its first step, its exit code, no change.
#include <algorithm>
#include <map>
#include <sstream>

#include "cli/system.h"
#include "store/file.h"

using namespace effllm::test;
namespace fs = std::filesystem;

namespace {

// Every file with its bytes and time of change.
std::map<std::string, std::pair<std::string, fs::file_time_type>> contents(const fs::path& folder) {
  std::map<std::string, std::pair<std::string, fs::file_time_type>> all;
  for (const auto& e : fs::recursive_directory_iterator(folder))
    all[e.path().string()] = {e.is_regular_file() ? slurp(e.path()) : "", e.last_write_time()};
  return all;
}

struct Dry : World {
  fs::path run = scratch.path / "runs/r";
  Dry() {
    const Ended r = train({"train.max_steps=40", "train.eval_every=20"});
    REQUIRE_MESSAGE(r.code == 0, r.err);
  }
  Ended train(const Words& set, const Words& more = {}) const {
    return effllm(with(with({"train", "tiny.yaml", "--resume", "auto", "--name", "r"}, sets(set)), more));
  }
  // What a dry run says, once it has changed nothing and the real run has ended with the same code and said the same
  // before its first step.
  std::string same_as_real(const Words& set, int code, Words more = {}) const {
    Words dry_words = more;
    dry_words.emplace_back("--dry-run");
    const auto before = contents(scratch.path / "runs");
    const Ended dry = train(set, dry_words);
    INFO(dry.err);
    CHECK(contents(scratch.path / "runs") == before);
    CHECK(dry.code == code);
    CHECK(dry.out.empty() == (code != 0));
    const Ended real = train(set, more);
    INFO(real.err);
    CHECK(real.code == code);
    std::istringstream said(dry.err.substr(0, dry.err.find("would train")));
    std::string expected;
    for (std::string line; std::getline(said, line);) expected += line + "\n";
    CHECK(real.err.starts_with(expected));
    CHECK_FALSE(expected.empty());
    return dry.err;
  }
};

}  // namespace

TEST_CASE("cli dry run: of a run that goes on it says and refuses what the run does, and changes nothing") {
  const Dry w;
  const Words as_it_was = {"train.max_steps=40", "train.eval_every=20"};
  const auto with = [&](const std::string& set) {
    Words all = as_it_was;
    all.push_back(set);
    return all;
  };
  CHECK(has(w.same_as_real({}, 0), "nothing to train: step 40 is at the run's horizon"));
  CHECK(has(w.same_as_real(with("model.d_model=32"), 4), "\n  model.d_model: 16 -> 32\n"));
  CHECK(has(w.same_as_real(with("model.layers[2].mixer.window=7"), 4), "--allow-model-change"));
  CHECK(has(w.same_as_real(with("optim.schedule.warmup=400"), 0), "changed: optim.schedule.warmup: 5 -> 400\n"));
  const std::string changed = w.same_as_real({"train.max_steps=45", "optim.lr=1e-3", "eval.tokens=8"}, 0);
  CHECK(has(changed, "new to the run: --set train.max_steps=45 --set optim.lr=1e-3 --set eval.tokens=8\n"));
  CHECK(has(changed, "changed: optim.lr: 0.003 -> 0.001\n"));
  CHECK(has(changed, "the learning rate of step 40 is "));
  CHECK(
      has(changed, "evaluated from now on by val, windows of 8 tokens instead of val, windows of 24 tokens: the best"));
  CHECK(has(changed, "going on from step 40"));
  CHECK(has(w.same_as_real({"train.max_steps=50"}, 0, {"--from", "runs/r"}), "--from does nothing"));
  CHECK(has(w.same_as_real({"train.max_steps=55", "model.layers[2].mixer.window=7"}, 0, {"--allow-model-change"}),
            "warning: another model from here on: model.layers[2].mixer.window: 9 -> 7\n"));
}

TEST_CASE("cli dry run: damage, another corpus and a run that is in use are told as the run tells them") {
  const Dry w;
  const fs::path newest = w.run / "ckpt/step_000000040.safetensors";
  const std::string good = slurp(newest);
  spill(newest, good.substr(0, good.size() - 1));
  const auto dry = [&] { return w.train({}, {"--dry-run"}); };
  const Ended older = dry();
  CHECK(older.code == 0);
  CHECK(older.says("passed over a checkpoint: "));
  CHECK(older.says("going on from step 20"));
  CHECK(slurp(newest).size() == good.size() - 1);
  spill(newest, good);
  {
    const effllm::FileLock lock(w.run);
    const Ended busy = dry();
    CHECK(busy.code == w.train({}).code);
    CHECK(busy.code != 0);
    CHECK_MESSAGE(busy.says("is in use by process"), busy.err);
  }
  spill(w.scratch.path / "own.txt", slurp(w.scratch.path / "own.txt") + "line 7: the quick brown fox.\n");
  w.ok({"data", "prepare", "own.txt", "--name", "own", "--force"});
  CHECK(has(w.same_as_real({}, 3), "the run was trained on another corpus than"));
  const std::string allowed = w.same_as_real({"train.max_steps=45"}, 0, {"--allow-data-mismatch"});
  CHECK(has(allowed, "trained on other data from here on; until step 40: "));
  CHECK(has(allowed, "the best loss starts anew"));
}

TEST_CASE("cli dry run: of a run that starts it names the folder that it would have, and what it would start with") {
  const Dry w;
  const auto dry = [&](Words more) {
    Words words = with({"train", "tiny.yaml", "--dry-run"}, more);
    const auto before = contents(w.scratch.path / "runs");
    const Ended r = w.ok(words);
    CHECK(contents(w.scratch.path / "runs") == before);
    return r;
  };
  CHECK(has(dry({"--name", "r"}).err, "runs/r exists; writing to runs/r-2\n"));
  CHECK(has(dry({"--name", "new", "--resume", "auto"}).err, "runs/new: "));
  CHECK(has(dry({"--name", "new", "--from", "runs/r"}).err, "starts with the weights of runs/r/ckpt/best.safetensors"));
  CHECK(has(dry({}).out, "  lanes: 4\n"));
}
