// Every command runs and prints what it should.
#include <cmath>

#include "cli/system.h"
#include "store/hdf5_read.h"

using namespace effllm::test;

TEST_CASE("cli: train, eval, generate, plot, describe, export on one run") {
  World w;
  const Ended dry = w.ok({"train", "-c", "tiny.yaml", "--dry-run"});
  CHECK(dry.shows("max_steps: 100"));
  CHECK_FALSE(std::filesystem::exists(w.scratch.path / "runs"));

  const Ended trained = w.ok({"train", "--config", "tiny.yaml", "--set", "train.eval_every=50", "--json"});
  CHECK(json_value(trained.out, "steps") == "100");
  const auto run = w.scratch.path / "runs/tiny";
  for (const char* f : {"config.yaml", "config.resolved.yaml", "overrides.txt", "provenance.json", "metrics.jsonl",
                        "metrics.h5", "log.txt", "status.json", "ckpt/best.safetensors",
                        "ckpt/step_000000100.safetensors", "samples/step_000000100.txt"})
    CHECK_MESSAGE(std::filesystem::exists(run / f), f);
  const auto loss = effllm::read_hdf5_series(run / "metrics.h5", "train/loss");
  CHECK(loss.size() == 20);
  CHECK(loss.back() < 0.9 * loss.front());
  CHECK(effllm::read_hdf5_series(run / "metrics.h5", "val/step") == std::vector<double>{50, 100});

  for (const char* protocol : {"windows", "sliding", "carried"}) {
    const Ended r = w.ok({"eval", "runs/tiny", "--protocol", protocol, "--json"});
    const double nats = std::stod(json_value(r.out, "nats_per_token"));
    CHECK(nats > 0.5);
    CHECK(nats < 4);
    CHECK(std::filesystem::exists(run / "eval" / (std::string("val-") + protocol + ".json")));
  }
  const Ended shown = w.effllm({"eval", "runs/tiny", "--split", "test"});
  CHECK(shown.shows("Kneser-Ney 5-gram"));
  CHECK(shown.shows("train + val"));
  CHECK(shown.shows("gzip -9"));

  CHECK(w.effllm({"generate", "runs/tiny", "-p", "line", "-n", "30", "--greedy"}).out.size() >= 30);
  const Ended samples =
      w.effllm({"generate", "runs/tiny", "-p", "line", "-n", "10", "--samples", "3", "--top-k", "5", "--top-p", "0.9"});
  CHECK(samples.shows("\n---\n"));
  const Ended stopped = w.effllm({"generate", "runs/tiny", "-p", "line ", "-n", "300", "--stop", "\n"});
  CHECK(stopped.out.find('\n') == stopped.out.size() - 1);
  CHECK(w.effllm({"generate", "runs/tiny", "-p", "line", "--json"}).shows("\"samples\":["));

  const Ended curve = w.ok({"plot", "runs/tiny", "-m", "train/loss", "--ascii", "--width", "60"});
  CHECK(curve.shows("train/loss"));
  w.ends({"plot", "runs/tiny", "-m", "train/nothing"}, 3);

  const Ended of_run = w.effllm({"describe", "runs/tiny"}), of_file = w.effllm({"describe", "tiny.yaml"});
  CHECK(of_run.code == 0);
  CHECK(of_run.out == of_file.out);
  CHECK(w.effllm({"describe", "tiny.yaml", "--parameters"}).shows("layers.1.mixer.qkvg.weight"));

  w.ok({"export", "runs/tiny", "-o", "out"});
  CHECK(std::filesystem::exists(w.scratch.path / "out/model.safetensors"));
  CHECK(json_value(read_text(w.scratch.path / "out/effllm.json"), "vocab_size").size() > 0);
}

TEST_CASE("cli: list, doctor, version, data, check and help") {
  World w;
  CHECK(w.effllm({"list", "mixers", "--long"}).shows("rope_theta"));
  CHECK(w.effllm({"list", "optimizers", "--long"}).shows("adjust_lr"));
  CHECK(w.effllm({"list", "options"}).shows("optim (type: muon)"));
  const Ended doctor = w.ok({"doctor"});
  CHECK(doctor.shows("gradient check (f64)  ok"));
  CHECK(w.effllm({"version"}).out.starts_with("effllm 0."));
  w.ok({"--help"});
  w.ok({"train", "--help"});
  CHECK(w.effllm({"data", "show", "own"}).shows("train"));
  w.ok({"check", "tiny.yaml"});
}

TEST_CASE("cli check: every configuration of the project is right") {
  const World w;
  std::string text;
  for (int i = 0; i < 20; ++i) text += read_text(w.scratch.path / "own.txt");
  write_text(w.scratch.path / "long.txt", text);
  w.ok({"data", "prepare", "long.txt"});
  for (const auto& e : std::filesystem::recursive_directory_iterator(std::string(kSourceDir) + "/configs")) {
    if (e.path().extension() != ".yaml") continue;
    Words words = {"check", e.path().string(), "--set", "data.corpus=" + (w.scratch.path / "data/long.yaml").string()};
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
         "give attention a `window`"},
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
