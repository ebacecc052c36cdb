// The promises about bits: threads and seeds. Kills and resumes are in resume_test.cpp.
#include "cli/system.h"

using namespace effllm::test;

TEST_CASE("cli train: 50 steps give the same parameters with 1, 2 and 3 threads") {
  const World w;
  std::string first;
  for (const char* n : {"1", "2", "3"}) {
    w.ok({"train", "-q", "-c", "tiny.yaml", "--set", "train.max_steps=50", "--name", std::string("t") + n, "--threads",
          n});
    const std::string hash = w.parameters_of(std::string("runs/t") + n + "/ckpt/step_000000050.safetensors");
    REQUIRE(hash.size() == 64);
    if (first.empty()) first = hash;
    CHECK(hash == first);
  }
}

TEST_CASE("cli generate: the same seed gives the same text, another seed another") {
  World w;
  w.ok({"train", "-q", "-c", "tiny.yaml", "--name", "g", "--set", "train.max_steps=10"});
  const auto text = [&](const char* seed) {
    return w.effllm({"generate", "runs/g", "-p", "line", "-n", "60", "--seed", seed, "--temperature", "1"}).out;
  };
  CHECK(text("1") == text("1"));
  CHECK(text("1") != text("2"));
  CHECK(text("1").starts_with("line"));
}
