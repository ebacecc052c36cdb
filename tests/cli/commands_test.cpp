// Every command runs and prints what it should.
#include <cmath>

#include "cli/system.h"
#include "io/hdf5.h"

using namespace effllm::test;

TEST_CASE("cli: train, eval, generate, plot, describe, export on one run") {
  World w;
  const Ended dry = w.effllm({"train", "-c", "tiny.yaml", "--dry-run"});
  CHECK(dry.code == 0);
  CHECK(dry.out.find("max_steps: 100") != dry.out.npos);
  CHECK_FALSE(std::filesystem::exists(w.scratch.path / "runs"));

  const Ended trained = w.effllm({"train", "--config", "tiny.yaml", "--set", "train.eval_every=50", "--json"});
  REQUIRE_MESSAGE(trained.code == 0, trained.err);
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
    const Ended r = w.effllm({"eval", "runs/tiny", "--protocol", protocol, "--json"});
    REQUIRE_MESSAGE(r.code == 0, r.err);
    const double nats = std::stod(json_value(r.out, "nats_per_token"));
    CHECK(nats > 0.5);
    CHECK(nats < 4);
    CHECK(std::filesystem::exists(run / "eval" / (std::string("val-") + protocol + ".json")));
  }
  const Ended shown = w.effllm({"eval", "runs/tiny", "--split", "test"});
  CHECK(shown.out.find("5-gram, Kneser-Ney") != shown.out.npos);
  CHECK(shown.out.find("gzip -9") != shown.out.npos);

  CHECK(w.effllm({"generate", "runs/tiny", "-p", "line", "-n", "30", "--greedy"}).out.size() >= 30);
  const Ended samples =
      w.effllm({"generate", "runs/tiny", "-p", "line", "-n", "10", "--samples", "3", "--top-k", "5", "--top-p", "0.9"});
  CHECK(samples.out.find("\n---\n") != samples.out.npos);
  const Ended stopped = w.effllm({"generate", "runs/tiny", "-p", "line ", "-n", "300", "--stop", "\n"});
  CHECK(stopped.out.find('\n') == stopped.out.size() - 1);
  CHECK(w.effllm({"generate", "runs/tiny", "-p", "line", "--json"}).out.find("\"samples\":[") != std::string::npos);

  const Ended curve = w.effllm({"plot", "runs/tiny", "-m", "train/loss", "--ascii", "--width", "60"});
  CHECK(curve.code == 0);
  CHECK(curve.out.find("train/loss") != curve.out.npos);
  CHECK(w.effllm({"plot", "runs/tiny", "-m", "train/nothing"}).code == 3);

  const Ended of_run = w.effllm({"describe", "runs/tiny"}), of_file = w.effllm({"describe", "tiny.yaml"});
  CHECK(of_run.code == 0);
  CHECK(of_run.out == of_file.out);
  CHECK(w.effllm({"describe", "tiny.yaml", "--parameters"}).out.find("layers.1.mixer.qkvg.weight") !=
        std::string::npos);

  CHECK(w.effllm({"export", "runs/tiny", "-o", "out"}).code == 0);
  CHECK(std::filesystem::exists(w.scratch.path / "out/model.safetensors"));
  CHECK(json_value(read_text(w.scratch.path / "out/config.json"), "vocab_size").size() > 0);
}

TEST_CASE("cli: list, doctor, version, data, check and help") {
  World w;
  for (const char* kind :
       {"mixers", "ffns", "objectives", "optimizers", "schedules", "orders", "tokenizers", "protocols"}) {
    CHECK(w.effllm({"list", kind}).code == 0);
    CHECK(w.effllm({"list", kind, "--json"}).out.starts_with("["));
  }
  CHECK(w.effllm({"list", "mixers", "--long"}).out.find("rope_theta") != std::string::npos);
  const Ended doctor = w.effllm({"doctor"});
  CHECK(doctor.code == 0);
  CHECK(doctor.out.find("gradient check (f64)  ok") != doctor.out.npos);
  CHECK(w.effllm({"version"}).out.starts_with("effllm 0."));
  CHECK(w.effllm({"--help"}).code == 0);
  CHECK(w.effllm({"train", "--help"}).code == 0);
  CHECK(w.effllm({"data", "show", "own"}).out.find("train") != std::string::npos);
  CHECK(w.effllm({"check", "tiny.yaml"}).code == 0);
}

TEST_CASE("cli check: every configuration of the project that needs no corpus is right") {
  World w;
  for (const auto& e : std::filesystem::recursive_directory_iterator(std::string(EFFLLM_SOURCE_DIR) + "/configs")) {
    if (e.path().extension() != ".yaml") continue;
    const std::string corpus = read_text(e.path()).find("tokenizer: byte") != std::string::npos ? "" : "own";
    std::vector<std::string> args = {"check", e.path().string()};
    if (!corpus.empty())
      args.insert(args.end(), {"--set", "data.corpus=" + (w.scratch.path / "data/own.yaml").string()});
    const Ended r = w.effllm(args);
    CHECK_MESSAGE(r.code == 0, r.err);
  }
}
