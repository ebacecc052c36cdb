// Every command runs and prints what it should.
#include <cmath>

#include "cli/system.h"
#include "store/hdf5_read.h"

using namespace effllm::test;

TEST_CASE("cli: train, eval, generate and describe on one run") {
  World w;
  w.ok({"train", "--config", "tiny.yaml", "--set", "train.eval_every=50"});
  const auto metrics = w.scratch.path / "runs/tiny/metrics.h5";
  const auto loss = effllm::read_hdf5_series(metrics, "train/loss");
  CHECK(loss.size() == 20);
  CHECK(loss.back() < 0.9 * loss.front());
  CHECK(effllm::read_hdf5_series(metrics, "val/step") == std::vector<double>{50, 100});
  const Ended shown = w.effllm({"eval", "runs/tiny", "--split", "test"});
  for (const char* part : {"Kneser-Ney 5-gram", "train + val", "gzip -9"}) CHECK(shown.shows(part));
  w.ok({"generate", "runs/tiny", "-p", "line", "-n", "10", "--top-k", "5", "--top-p", "0.9"});
  const Ended stopped = w.effllm({"generate", "runs/tiny", "-p", "line ", "-n", "300", "--stop", "\n"});
  CHECK(stopped.out.find('\n') == stopped.out.size() - 1);
  const Ended of_run = w.ok({"describe", "runs/tiny"}), of_file = w.effllm({"describe", "tiny.yaml"});
  CHECK(of_run.out == of_file.out);
  CHECK(w.effllm({"describe", "tiny.yaml", "--parameters"}).shows("layers.1.mixer.qkvg.weight"));
}

TEST_CASE("cli describe: says where the number of lanes is part of what is trained, once for all layers") {
  const World w;
  const Words describe = {"describe", "tiny.yaml", "--set"};
  const auto moe = [&](const std::string& over) {
    return w.ok(with(describe, {"model.block.ffn={type: moe, balance_tokens: " + over + "}"})).out;
  };
  const std::string shown = moe("shard"), note = "moe: balance_tokens: shard: ";
  REQUIRE(shown.find("layers.0: " + note) != std::string::npos);
  CHECK(shown.find(note) == shown.rfind(note));
  CHECK(shown.find("train.lanes") != std::string::npos);
  for (const char* same : {"sequence", "previous_batch"}) CHECK(moe(same).find("train.lanes") == std::string::npos);
  const Ended json =
      w.ok({"describe", "tiny.yaml", "--json", "--set", "model.block.ffn={type: moe, balance_tokens: shard}"});
  CHECK(json.shows("\"notes\""));
}

TEST_CASE("cli: list, doctor, version, data, check and help") {
  World w;
  CHECK(w.effllm({"list", "mixers", "--long"}).shows("rope_theta"));
  CHECK(w.effllm({"list", "optimizers", "--long"}).shows("adjust_lr"));
  CHECK(w.effllm({"list", "options"}).shows("optim (type: muon)"));
  const Ended doctor = w.ok({"doctor"});
  CHECK(doctor.shows("gradient check (f64)  ok"));
  CHECK(w.effllm({"version"}).out.starts_with("effllm 0."));
  CHECK(w.effllm({"data", "show", "own"}).shows("train"));
  w.ok({"check", "tiny.yaml"});
}

TEST_CASE("cli check: every configuration of the project is right") {
  const World w;
  std::string text;
  for (int i = 0; i < 20; ++i) text += slurp(w.scratch.path / "own.txt");
  spill(w.scratch.path / "long.txt", text);
  w.ok({"data", "prepare", "long.txt"});
  // Whether it, or the base of a study beside it, is of a task, which makes its own samples.
  const auto of_task = [](const std::filesystem::path& file) {
    const auto names_one = [](const std::filesystem::path& p) {
      return std::filesystem::is_regular_file(p) && slurp(p).find("task: ") != std::string::npos;
    };
    return names_one(file) || names_one(file.parent_path() / (file.stem().string() + "_base.yaml"));
  };
  for (const auto& e : std::filesystem::recursive_directory_iterator(std::string(kSourceDir) + "/configs")) {
    if (e.path().extension() != ".yaml") continue;
    Words words = {"check", e.path().string()};
    if (!of_task(e.path()))
      words.insert(words.end(), {"--set", "data.corpus=" + (w.scratch.path / "data/long.yaml").string()});
    w.ok(words);
  }
}

TEST_CASE("cli check, --dry-run and train end alike where a run can't start") {
  const World w;
  struct Case {
    Words set;
    int code;
    const char* says;
  };
  for (const Case& c :
       {Case{{"data.corpus=nowhere", "data.tokenizer=byte"}, 3, "nowhere"},
        {{"data.order=streams", "train.carry_state=true", "model.layers[2].mixer={type: attention}"},
         2,
         "error: train.carry_state: the state `layers.2.mixer.k` grows with every token"},
        {{"data.corpus=whole", "eval.split=test"}, 3, "--set #2: error: corpus `whole` has no test split"},
        {{"eval.prompt=\"%\""}, 2, "--set #1: error: eval.prompt: `%` (U+0025)"},
        {{"train.context=100000"},
         2,
         "--set #1: error: train.context: a row of 100000 tokens needs a split of at least"},
        {{"data.order=streams", "train.batch=10000"},
         2,
         "tiny.yaml:12:28: error: train.context: 10000 streams of 24 tokens need"},
        {{"train.context=16777216"}, 7, "training would need"},
        {{"optim.groups=[{match: nobody}]"}, 2, "nobody"},
        {{"model.d_model=65536", "train.context=4096"}, 7, "training would need"}}) {
    w.ok({"data", "prepare", "own.txt", "--name", "whole", "--train", "0.9", "--val", "0.1"});
    Words set;
    for (const auto& s : c.set) set.insert(set.end(), {"--set", s});
    for (const Words& command :
         {Words{"check", "tiny.yaml"}, {"train", "tiny.yaml", "--dry-run"}, {"train", "tiny.yaml"}}) {
      const Ended r = w.effllm(with(command, set));
      INFO(command[0] << " " << c.set[0] << "\n" << r.err);
      CHECK(r.code == c.code);
      CHECK(r.says(c.says));
    }
  }
  CHECK_FALSE(std::filesystem::exists(w.scratch.path / "runs"));
}
