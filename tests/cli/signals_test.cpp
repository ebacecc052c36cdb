// Signals that come at any moment. The model is so wide that oneDNN computes its products: its generated code is where
// a handler would destroy memory.
#include <chrono>
#include <csignal>
#include <thread>

#include "base/json.h"
#include "cli/system.h"

using namespace effllm::test;
namespace fs = std::filesystem;

namespace {

struct WideWorld : World {
  WideWorld() {
    spill(scratch.path / "wide.yaml",
          "model:\n"
          "  d_model: 128\n"
          "  block: {ffn: {type: mlp, expand: 4}}\n"
          "  layers: [{repeat: 2, of: [{mixer: {type: attention, heads: 2}}]}]\n"
          "data: {corpus: own}\n"
          "train: {batch: 4, context: 64, max_steps: 60, lanes: 2, log_every: 1}\n"
          "eval: {max_tokens: 64, sample_tokens: 1}\n");
  }
  Words train(const std::string& name, const Words& set = {}) const {
    return command(with({"train", "-q", "wide.yaml", "--threads", "2", "--name", name}, sets(set)));
  }
};

void pause(int milliseconds) { std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds)); }

}  // namespace

TEST_CASE("cli train: TERM ends it with exit 75 at any moment of a step of large products") {
  const WideWorld w;
  for (int i = 0; i < 8; ++i) {
    const std::string name = "r" + std::to_string(i);
    Process p(w.train(name, {"train.max_steps=1000000"}), w.in);
    REQUIRE(await_text(w.scratch.path / "runs" / name / "metrics.jsonl", "\"step\":1,"));
    pause(7 * i);
    p.signal(SIGTERM);
    const Ended r = p.wait();
    CHECK_MESSAGE(r.code == 75, r.err);
  }
}

TEST_CASE("cli train: the first INT is answered while its step goes on, a second ends the program") {
  const WideWorld w;
  Surroundings in = w.in;
  in.err_to = (w.scratch.path / "said").string();
  Process p(w.command({"train", "wide.yaml", "--set", "train.batch=65536", "--set", "train.max_steps=2"}), in);
  REQUIRE(await_text(in.err_to, "starting"));  // a step of minutes
  p.signal(SIGINT);
  CHECK(await_text(
      in.err_to, "stopping with a checkpoint: a step that would take more than 5 s longer is given up; Ctrl-C again"));
  CHECK(p.running());
  p.signal(SIGINT);
  CHECK(p.wait().code == 130);
}

TEST_CASE("cli train: a step of minutes does not keep TERM waiting: it is given up, and what came before it is kept") {
  const WideWorld w;
  Surroundings in = w.in;
  in.err_to = (w.scratch.path / "said").string();
  Process p(w.command({"train", "wide.yaml", "--set", "train.batch=65536", "--set", "train.max_steps=2"}), in);
  REQUIRE(await_text(in.err_to, "starting"));
  p.signal(SIGTERM);
  const auto asked = std::chrono::steady_clock::now();
  CHECK(p.wait().code == 75);
  CHECK(std::chrono::steady_clock::now() - asked < std::chrono::seconds(60));  // 5 and an op, on a busy machine too
  const std::string said = slurp(in.err_to);
  CHECK_MESSAGE(said.find("the step after 0 was given up, ") != said.npos, said);
  CHECK(said.find("stopped at step 0 with a checkpoint; go on with --resume auto") != said.npos);
  const fs::path run = w.scratch.path / "runs/wide";
  CHECK(nlohmann::json::parse(slurp(run / "status.json")).at("status") == "interrupted");
  CHECK(fs::exists(run / "ckpt/step_000000000.safetensors"));
}

TEST_CASE("cli train: checkpoints on request, many of them, change nothing") {
  const WideWorld w;
  REQUIRE(run_command(w.train("whole"), w.in).code == 0);
  Process p(w.train("asked", {"train.keep=1000"}), w.in);
  REQUIRE(await_text(w.scratch.path / "runs/asked/metrics.jsonl", "\"step\":1,"));
  while (p.running()) {
    p.signal(SIGUSR2);
    pause(11);
  }
  const Ended r = p.wait();
  CHECK_MESSAGE(r.code == 0, r.err);
  size_t checkpoints = 0;
  for (const auto& e : fs::directory_iterator(w.scratch.path / "runs/asked/ckpt")) checkpoints += e.is_regular_file();
  CHECK(checkpoints > 3);  // more than the last and the best
  const std::string hash = w.parameters_of("runs/whole/ckpt/step_000000060.safetensors");
  REQUIRE(hash.size() == 64);
  CHECK(w.parameters_of("runs/asked/ckpt/step_000000060.safetensors") == hash);
}

TEST_CASE("cli train: a signal that comes while it loads counts") {
  const WideWorld w;
  Process p(w.train("early", {"train.max_steps=1000000"}), w.in);
  REQUIRE(await_text(w.scratch.path / "runs/early/config.yaml", "d_model"));  // the first that is written
  p.signal(SIGTERM);
  CHECK(p.wait().code == 75);
  const auto status = nlohmann::json::parse(slurp(w.scratch.path / "runs/early/status.json"));
  CHECK(status.at("status") == "interrupted");
}
