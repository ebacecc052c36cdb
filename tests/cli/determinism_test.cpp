// The promises about bits: threads, kills and resumes, seeds.
#include <chrono>
#include <csignal>
#include <thread>

#include "cli/system.h"

using namespace effllm::test;

TEST_CASE("cli train: 50 steps give the same parameters with 1, 2 and 3 threads") {
  const World w;
  std::string first;
  for (const char* n : {"1", "2", "3"}) {
    const Ended r = w.effllm({"train", "-q", "-c", "tiny.yaml", "--set", "train.max_steps=50", "--name",
                              std::string("t") + n, "--threads", n});
    REQUIRE_MESSAGE(r.code == 0, r.err);
    const std::string hash = w.parameters_of(std::string("runs/t") + n + "/ckpt/step_000000050.safetensors");
    REQUIRE(hash.size() == 64);
    if (first.empty()) first = hash;
    CHECK(hash == first);
  }
}

TEST_CASE("cli train: killed and resumed ends with the same parameters as in one go") {
  World w;
  REQUIRE(w.effllm({"train", "-q", "-c", "tiny.yaml", "--name", "whole"}).code == 0);
  const std::string want = w.parameters_of("runs/whole/ckpt/step_000000100.safetensors");
  REQUIRE(want.size() == 64);
  const auto command =
      w.command({"train", "-q", "-c", "tiny.yaml", "--name", "killed", "--resume", "auto", "--threads", "1"});
  {
    Process p(command, w.in);
    const auto forty = w.scratch.path / "runs/killed/ckpt/step_000000040.safetensors";
    while (p.running() && !std::filesystem::exists(forty)) std::this_thread::sleep_for(std::chrono::milliseconds(2));
    p.signal(SIGKILL);
    CHECK(p.wait().code == 128 + SIGKILL);
  }
  const Ended r = run_command(command, w.in);
  REQUIRE_MESSAGE(r.code == 0, r.err);
  CHECK(w.parameters_of("runs/killed/ckpt/step_000000100.safetensors") == want);
  // The journal holds the kill: rows up to the checkpoint, a marker, and every later row once more.
  const std::string journal = read_text(w.scratch.path / "runs/killed/metrics.jsonl");
  CHECK(journal.find("\"type\":\"resume\"") != journal.npos);
  CHECK(journal.find("\"step\":100,") != journal.npos);
}

TEST_CASE("cli train: SIGTERM gives a checkpoint and exit code 75, and the run goes on from it") {
  World w;
  const auto command = w.command({"train", "-q", "-c", "tiny.yaml", "--name", "stopped", "--resume", "auto", "--set",
                                  "train.max_steps=4000", "--set", "train.save_every=0"});
  {
    Process p(command, w.in);
    const auto journal = w.scratch.path / "runs/stopped/metrics.jsonl";
    while (p.running() && read_text(journal).find("\"type\":\"train\"") == std::string::npos)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    p.signal(SIGTERM);
    CHECK(p.wait().code == 75);
  }
  const std::string status = read_text(w.scratch.path / "runs/stopped/status.json");
  CHECK(json_value(status, "status") == "interrupted");
  const int step = std::stoi(json_value(status, "step"));
  CHECK(step > 0);
  const Ended r = w.effllm({"train", "-q", "-c", "tiny.yaml", "--name", "stopped", "--resume", "auto", "--json",
                            "--set", "train.max_steps=" + std::to_string(step + 3)});
  CHECK_MESSAGE(r.code == 0, r.err);
  CHECK(json_value(r.out, "steps") == std::to_string(step + 3));
}

TEST_CASE("cli train: a damaged newest checkpoint is passed over for the one before") {
  World w;
  REQUIRE(w.effllm({"train", "-q", "-c", "tiny.yaml", "--name", "r"}).code == 0);
  const auto newest = w.scratch.path / "runs/r/ckpt/step_000000100.safetensors";
  std::string bytes = read_text(newest);
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 4);
  const std::string want = w.parameters_of("runs/r/ckpt/step_000000100.safetensors");
  write_text(newest, bytes);
  const Ended r = w.effllm({"train", "-c", "tiny.yaml", "--name", "r", "--resume", "auto"});
  CHECK_MESSAGE(r.code == 0, r.err);
  CHECK(r.err.find("step_000000100") != r.err.npos);
  CHECK(r.err.find("going on from step 80") != r.err.npos);
  CHECK(w.parameters_of("runs/r/ckpt/step_000000100.safetensors") == want);
}

TEST_CASE("cli generate: the same seed gives the same text, another seed another") {
  World w;
  REQUIRE(w.effllm({"train", "-q", "-c", "tiny.yaml", "--name", "g", "--set", "train.max_steps=10"}).code == 0);
  const auto text = [&](const char* seed) {
    return w.effllm({"generate", "runs/g", "-p", "line", "-n", "60", "--seed", seed, "--temperature", "1"}).out;
  };
  CHECK(text("1") == text("1"));
  CHECK(text("1") != text("2"));
  CHECK(text("1").starts_with("line"));
}
