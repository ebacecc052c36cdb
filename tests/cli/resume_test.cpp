// Kills, damage, changes and full disks between the start and the end of a run.
#include <chrono>
#include <csignal>
#include <thread>

#include "cli/system.h"
#include "store/hdf5_read.h"
#include "store/journal.h"
#include "store/run_folder.h"

using namespace effllm::test;
using effllm::RunFolder;
namespace fs = std::filesystem;

namespace {

Words train(const std::string& name, const Words& set = {}) {
  return with({"train", "tiny.yaml", "--resume", "auto", "--name", name}, sets(set));
}

void flip_bit(const fs::path& file, size_t at) {
  std::string bytes = slurp(file);
  bytes.at(at) = static_cast<char>(bytes[at] ^ 4);
  spill(file, bytes);
}

int temporaries(const fs::path& folder) {
  int n = 0;
  for (const auto& e : fs::recursive_directory_iterator(folder)) n += has(e.path().filename().string(), ".tmp.");
  return n;
}

// The same rows, each once, with the same losses.
void check_same_rows(const RunFolder& a, const RunFolder& b) {
  const effllm::JournalData x = effllm::read_journal(a.journal()), y = effllm::read_journal(b.journal());
  for (const char* kind : {"train", "val"}) {
    REQUIRE(x.find(kind));
    CHECK(x.find(kind)->step == y.find(kind)->step);
    CHECK(*x.find(kind)->find("loss") == *y.find(kind)->find("loss"));
    CHECK(effllm::read_hdf5_series(a.metrics(), std::string(kind) + "/loss") == *y.find(kind)->find("loss"));
  }
}

}  // namespace

TEST_CASE("cli resume: killed at any moments and resumed, the run ends with the bits of one that was not") {
  const World w;
  const Words set = {"train.eval_every=25", "train.save_every=20", "train.log_every=8"};
  w.ok(train("whole", set));
  const RunFolder whole(w.scratch.path / "runs/whole"), part(w.scratch.path / "runs/part");
  int kills = 0;
  for (const auto& [step, milliseconds] : {std::pair{0, 3}, {40, 0}, {40, 13}, {60, 1}, {60, 40}, {80, 5}}) {
    Process p(w.command(train("part", set)), w.in);
    while (p.running() && (part.steps().empty() ? 0 : part.steps().back()) < step)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
    p.signal(SIGKILL);
    kills += p.wait().code == 128 + SIGKILL;
  }
  CHECK(kills >= 1);
  w.ok(train("part", set));
  CHECK(w.parameters_of("runs/part/ckpt/step_000000100.safetensors") ==
        w.parameters_of("runs/whole/ckpt/step_000000100.safetensors"));
  CHECK(w.parameters_of("runs/part/ckpt/best.safetensors") == w.parameters_of("runs/whole/ckpt/best.safetensors"));
  CHECK(temporaries(part.path()) == 0);
  check_same_rows(part, whole);
}

TEST_CASE("cli resume: stopped by signals within rows and resumed, the rows are those of a run that was not") {
  const World w;
  const Words set = {"train.max_steps=1000", "train.log_every=150", "train.save_every=0"};
  w.ok(train("whole", set));
  for (const char* after : {"\"step\":150,", "\"step\":450,"}) {
    Process p(w.command(train("part", set)), w.in);
    REQUIRE(await_text(w.scratch.path / "runs/part/metrics.jsonl", after));
    p.signal(SIGTERM);
    CHECK(p.wait().code == 75);
  }
  w.ok(train("part", set));
  CHECK(w.parameters_of("runs/part/ckpt/step_000001000.safetensors") ==
        w.parameters_of("runs/whole/ckpt/step_000001000.safetensors"));
  check_same_rows(RunFolder(w.scratch.path / "runs/part"), RunFolder(w.scratch.path / "runs/whole"));
}

TEST_CASE("cli resume: without --set a run goes on with what it was started with, with --set differences are said") {
  const World w;
  const fs::path run = w.scratch.path / "runs/r";
  w.ok(train("r", {"model.d_model=32", "train.max_steps=40"}));
  const std::string overrides = slurp(run / "overrides.txt"), resolved = slurp(run / "config.resolved.yaml");
  const Ended again =
      w.ends(train("r"), 0, {"as runs/r/overrides.txt says: --set model.d_model=32 --set train.max_steps=40\n"});
  CHECK(again.shows("40 steps"));
  CHECK(slurp(run / "overrides.txt") == overrides);
  CHECK(slurp(run / "config.resolved.yaml") == resolved);

  const Ended other = w.ends(train("r", {"train.max_steps=60"}), 4);
  CHECK(has(other.err,
            "of runs/r/overrides.txt no longer: --set model.d_model=32 --set train.max_steps=40\nnew to the "
            "run: --set train.max_steps=60\n"));
  CHECK_FALSE(other.says("taken over"));
  CHECK(slurp(run / "overrides.txt") == overrides);

  const Ended longer = w.ends(
      train("r", {"model.d_model=32", "train.max_steps=60", "optim.lr=1e-3"}), 0,
      {"changed: optim.lr: 0.003 -> 0.001\nchanged: train.max_steps: 40 -> 60\n", "the learning rate of step 40 is "});
  CHECK(longer.shows("60 steps"));
  CHECK(slurp(run / "overrides.txt") == "model.d_model=32\ntrain.max_steps=60\noptim.lr=1e-3\n");
  w.ends(train("r", {"eval.prompt=\"a\nb\""}), 2);
  CHECK_FALSE(has(w.effllm(train("fresh", {"train.max_steps=5"})).err, "overrides.txt"));
}

TEST_CASE("cli resume: what was edited in the file is told, another model in it is exit 4") {
  const World w;
  w.ok(train("r"));
  const std::string yaml = slurp(w.scratch.path / "tiny.yaml");
  const auto edited = [&](const std::string& from, const std::string& to) {
    std::string text = yaml;
    spill(w.scratch.path / "tiny.yaml", text.replace(text.find(from), from.size(), to));
  };
  edited("lr: 3e-3", "lr: 1.5e-3");
  w.ends(train("r"), 0, {"changed: optim.lr: 0.003 -> 0.0015\n", ", 0.5 times as much\n"});
  CHECK(has(slurp(w.scratch.path / "runs/r/metrics.jsonl"), "changed: optim.lr: 0.003 -> 0.0015"));
  edited("heads: 2, window: 9", "heads: 4, window: 7");
  w.ends(train("r"), 4, {"\n  model.layers[2].mixer.heads: 2 -> 4\n  model.layers[2].mixer.window: 9 -> 7\n"});
  w.ends(with(train("r", {"train.max_steps=105"}), {"--allow-model-change"}), 0, {"the best loss starts anew"});
  CHECK(has(w.effllm(train("r", {"train.max_steps=105"})).err, "nothing to train: step 105 is at the run's horizon"));
  // Its weights start a run of their own.
  w.ends({"train", "tiny.yaml", "--name", "tuned", "--from", "runs/r", "--set", "train.max_steps=6"}, 0,
         {"starts with the weights of runs/r/ckpt/best.safetensors (step 105)"});
  w.ok({"train", "tiny.yaml", "--from", "runs/r", "--dry-run"});
  w.ends({"train", "tiny.yaml", "--from", "runs/r", "--dry-run", "--set", "model.d_model=32"}, 4);
  w.ends({"train", "tiny.yaml", "--name", "tuned2", "--from", "runs/nothing"}, 4);
  const Ended unfit = w.ends({"train", "tiny.yaml", "--name", "tuned2", "--from", "runs/r", "--set", "model.d_model=32",
                              "--allow-model-change"},
                             4, {"its weights do not fit this one: `embedding.weight` is ["});
  CHECK_FALSE(unfit.says("--allow-model-change"));
  CHECK_FALSE(fs::exists(w.scratch.path / "runs/tuned2"));
}

TEST_CASE("cli resume: an edited configuration that loses to overrides.txt is said key by key and kept as an event") {
  const World w;
  const fs::path run = w.scratch.path / "runs/r";
  w.ok(train("r", {"optim.lr=1e-3", "train.max_steps=20", "optim.schedule={warmup: 4}", "data.corpus=own"}));
  CHECK_FALSE(has(w.effllm(train("r")).err, "no effect"));
  std::string yaml = slurp(w.scratch.path / "tiny.yaml");
  yaml.replace(yaml.find("lr: 3e-3"), 8, "lr: 5e-4");
  yaml.replace(yaml.find("warmup: 5"), 9, "warmup: 2");
  yaml.replace(yaml.find("log_every: 5"), 12, "log_every: 4");
  spill(w.scratch.path / "tiny.yaml", yaml);
  const Ended r = w.ok(train("r"));
  const std::string journal = slurp(run / "metrics.jsonl");
  for (const std::string said :
       {"warning: optim.lr: 3e-3 -> 5e-4 in tiny.yaml has no effect: runs/r/overrides.txt holds --set optim.lr=1e-3",
        "warning: optim.schedule.warmup: 5 -> 2 in tiny.yaml has no effect: runs/r/overrides.txt holds --set "
        "optim.schedule={warmup: 4}"}) {
    CHECK_MESSAGE(r.says(said), r.err);
    CHECK(has(journal, said));
  }
  CHECK(r.says("changed: train.log_every: 5 -> 4\n"));
  CHECK_FALSE(r.says("log_every: 5 -> 4 in tiny.yaml has no effect"));
  CHECK_FALSE(has(w.effllm(train("r")).err, "no effect"));  // said once
  CHECK_FALSE(has(w.effllm(train("r", {"train.max_steps=20"})).err, "no effect"));
}

TEST_CASE("cli resume: killed before its first checkpoint, a run starts anew in the same folder") {
  const World w;
  {
    Process p(w.command(train("r", {"train.max_steps=100000000", "train.save_every=0"})), w.in);
    REQUIRE(await_text(w.scratch.path / "runs/r/metrics.jsonl", "\"step\":20,"));
    p.signal(SIGKILL);
    p.wait();
  }
  w.ok(train("r", {"train.max_steps=100"}));
  w.ok(train("whole"));
  check_same_rows(RunFolder(w.scratch.path / "runs/r"), RunFolder(w.scratch.path / "runs/whole"));
}

TEST_CASE("cli resume: a run's own configuration means that run, from inside, from outside and from elsewhere") {
  const World w;
  w.ok(train("r", {"optim.lr=1e-3", "train.max_steps=20"}));
  const fs::path run = w.scratch.path / "runs/r";
  fs::create_directories(w.scratch.path / "elsewhere");
  Surroundings inside = w.in, samples = w.in, elsewhere = w.in;
  inside.folder = run, samples.folder = run / "samples", elsewhere.folder = w.scratch.path / "elsewhere";
  for (const std::string file : {"config.yaml", "config.resolved.yaml"})
    for (const auto& [in, config] :
         std::vector<std::pair<const Surroundings*, std::string>>{{&inside, file},
                                                                  {&inside, "./" + file},
                                                                  {&inside, "../r/" + file},
                                                                  {&samples, "../" + file},
                                                                  {&w.in, "runs/r/" + file},
                                                                  {&elsewhere, (run / file).string()}}) {
      INFO(config);
      const Ended r = w.ends({"train", config, "--resume", "auto"}, 0, {"going on from step 20"}, in);
      CHECK_FALSE(r.says("data.corpus"));  // the same corpus by another name
      CHECK_FALSE(r.says("changed: "));
      CHECK_FALSE(r.says("no effect"));
    }
  CHECK_FALSE(fs::exists(run / "runs"));
  CHECK_FALSE(fs::exists(elsewhere.folder / "runs"));
  // A run that is not resumed, or is another, has no place in the folder of one.
  for (const Words& words : {Words{"train", "config.yaml"},
                             {"train", "config.yaml", "--resume", "auto", "--name", "s"},
                             {"train", "../../tiny.yaml", "--resume", "auto"}}) {
    w.ends(words, 2, {run.string() + " is a run's folder: another run would be nested in it"}, &inside);
  }
  for (const std::string& place : {run.string(), (run / "ckpt/more").string()}) {
    w.ends({"train", (w.scratch.path / "tiny.yaml").string(), "--runs", place}, 2,
           {run.string() + " is a run's folder"});
  }
  CHECK_FALSE(fs::exists(run / "runs"));
  // A folder that was renamed is resumed, not the one that its configuration names.
  fs::rename(run, w.scratch.path / "runs/renamed");
  CHECK(has(w.effllm({"train", "runs/renamed/config.yaml", "--resume", "auto"}).out, "runs/renamed: 20 steps"));
  CHECK_FALSE(fs::exists(run));
  // What is edited in the resolved file and loses to overrides.txt is said.
  const fs::path resolved = w.scratch.path / "runs/renamed/config.resolved.yaml";
  std::string yaml = slurp(resolved);
  REQUIRE(has(yaml, "  lr: 0.001\n"));
  spill(resolved, yaml.replace(yaml.find("  lr: 0.001\n"), 12, "  lr: 0.002\n"));
  const Ended lost = w.effllm({"train", "runs/renamed/config.resolved.yaml", "--resume", "auto"});
  CHECK_MESSAGE(has(lost.err,
                    "warning: optim.lr: 0.002 in runs/renamed/config.resolved.yaml has no effect: "
                    "runs/renamed/overrides.txt holds --set optim.lr=1e-3; give --set to change it\n"),
                lost.err);
}

TEST_CASE("cli resume: a damaged checkpoint is passed over for the one before, without another it is exit 4") {
  const World w;
  w.ok(train("r"));
  const RunFolder run(w.scratch.path / "runs/r");
  const std::string hash = w.parameters_of("runs/r/ckpt/step_000000100.safetensors");
  for (const int part : {2, 3}) {
    flip_bit(run.checkpoint(100),
             fs::file_size(run.checkpoint(100)) * static_cast<size_t>(part - 1) / static_cast<size_t>(part));
    w.ends(train("r"), 0, {"passed over a checkpoint", "step_000000100.safetensors", "going on from step 80"});
    CHECK(w.parameters_of("runs/r/ckpt/step_000000100.safetensors") == hash);
  }
  const std::string good = slurp(run.checkpoint(100));
  for (const size_t length : {size_t{0}, size_t{5}, size_t{500}, good.size() - 1}) {
    spill(run.checkpoint(80), good.substr(0, length));
    spill(run.checkpoint(100), good.substr(0, length));
    w.ends(train("r"), 4, {"no checkpoint can be read"});
  }
  spill(run.best(), good.substr(0, 3000));
  w.ends({"eval", "runs/r"}, 4, {"best.safetensors"});
  w.ends({"generate", "runs/none", "-p", "x"}, 4);
}

TEST_CASE("cli resume: another corpus is exit 3, another vocabulary or model exit 4, and nothing is overwritten") {
  const World w;
  w.ok(train("r"));
  const fs::path run = w.scratch.path / "runs/r";
  const std::string resolved = slurp(run / "config.resolved.yaml"), journal = slurp(run / "metrics.jsonl");
  const auto refused = [&](const Words& set, int code, const std::string& part) {
    const Ended r = w.ends(train("r", set), code, {part});
    CHECK(slurp(run / "config.resolved.yaml") == resolved);
    CHECK(slurp(run / "metrics.jsonl") == journal);
    CHECK(r.says("train anew without --resume"));
    return r.says("--allow-");
  };
  // What can't help is not offered.
  CHECK_FALSE(refused({"data.tokenizer=byte"}, 4, "data.tokenizer: char -> byte"));
  CHECK_FALSE(refused({"model.d_model=32"}, 4, "model.d_model: 16 -> 32"));
  CHECK_FALSE(refused({"model.d_model=32"}, 4, "its weights do not fit: `embedding.weight` is ["));
  CHECK_FALSE(refused({"model.layers[2].mixer={type: gla}"}, 4, "model.layers[2].mixer.type: attention -> gla"));
  CHECK(refused({"model.layers[2].mixer.window=7"}, 4, "model.layers[2].mixer.window: 9 -> 7"));
  w.ends(train("r", {"train.carry_state=true", "data.order=streams"}), 4, {"data.order: shuffled_windows -> streams"});
  for (const std::string set : {"model.d_model=32", "data.tokenizer=byte"}) {
    w.ends(with(train("r", {set}), {"--allow-model-change"}), 4, {"its weights do not fit: "});
  }
  spill(w.scratch.path / "own.txt", slurp(w.scratch.path / "own.txt") + "line 7: the quick brown fox.\n");
  w.ok({"data", "prepare", "own.txt", "--name", "own", "--force"});
  CHECK(refused({}, 3, "SHA-256"));
  // With another symbol in it, the model has no place for it.
  const std::string longer = slurp(w.scratch.path / "own.txt");
  spill(w.scratch.path / "own.txt", longer + "%");
  w.ok({"data", "prepare", "own.txt", "--name", "own", "--force"});
  CHECK_FALSE(refused({}, 3, "this one has other symbols than the model's vocabulary"));
  const Ended test = w.ends({"eval", "runs/r", "--split", "test"}, 3, {"`%` (U+0025)"});
  CHECK_FALSE(test.says("--allow-"));
  spill(w.scratch.path / "own.txt", longer);
  w.ok({"data", "prepare", "own.txt", "--name", "own", "--force"});
  w.ends({"eval", "runs/r"}, 3);
  w.ok({"eval", "runs/r", "--allow-data-mismatch"});
}

TEST_CASE("cli resume: a full disk is exit 5, the old checkpoint, the journal and the run after it are unharmed") {
  const World w;
  w.ok(train("r", {"train.max_steps=40"}));
  w.ok(train("other", {"train.max_steps=40"}));
  const RunFolder run(w.scratch.path / "runs/r"), other(w.scratch.path / "runs/other");
  const std::string old = slurp(run.checkpoint(40)), best = slurp(run.best());
  const auto size = static_cast<int64_t>(old.size());
  for (const int64_t limit : {int64_t{1}, int64_t{4096}, size / 2, size - 1}) {
    INFO("limit " << limit);
    Surroundings full = w.in;
    full.file_limit = limit;
    w.ends(train("r", {"train.max_steps=100"}), 5, {}, &full);
    CHECK(slurp(run.checkpoint(40)) == old);
    CHECK(slurp(run.best()) == best);
    CHECK(run.steps().back() == 40);
    CHECK(temporaries(run.path()) == 0);
    CHECK(effllm::read_journal(run.journal()).bad_lines <= 1);
  }
  w.ok(train("r", {"train.max_steps=100"}));
  w.ok(train("other", {"train.max_steps=100"}));
  check_same_rows(run, other);
  CHECK(slurp(run.checkpoint(100)).size() == slurp(other.checkpoint(100)).size());
}
