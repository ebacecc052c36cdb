// effllm verify on configurations and trained models.
#include <limits>

#include "cli/system.h"
#include "support/mutate.h"

using namespace effllm::test;

TEST_CASE("cli verify: a configuration and a trained model pass, as a table and as JSON") {
  World w;
  const Ended untrained = w.effllm({"verify", "tiny.yaml", "--tokens", "20"});
  REQUIRE_MESSAGE(untrained.code == 0, untrained.out);
  CHECK(untrained.out.find("random tokens") != untrained.out.npos);
  CHECK(untrained.out.find("all 24 checks hold") != untrained.out.npos);
  REQUIRE(w.effllm({"train", "-c", "tiny.yaml", "--set", "train.max_steps=5"}).code == 0);
  const Ended trained = w.effllm({"verify", "runs/tiny", "--type", "f64", "--json"});
  REQUIRE_MESSAGE(trained.code == 0, trained.out);
  CHECK(trained.out.find("text of its corpus") != trained.out.npos);
  CHECK(json_value(trained.out, "failed") == "0");
  CHECK(w.effllm({"verify", "runs/tiny", "--set", "model.d_model=16"}).code == 2);
  CHECK(w.effllm({"verify", "runs/none"}).code != 0);
}

TEST_CASE("cli verify: a model whose numbers can't be compared fails, exit code 6") {
  World w;
  REQUIRE(w.effllm({"train", "-c", "tiny.yaml", "--set", "train.max_steps=5"}).code == 0);
  // Finite, but no longer where they are multiplied: a file with values that are not is refused before.
  copy_with_numbers(w.scratch.path / "runs/tiny/ckpt/step_000000005.safetensors", w.scratch.path / "spoilt.safetensors",
                    "final_norm.weight", std::numeric_limits<float>::max());
  const Ended r = w.effllm({"verify", "spoilt.safetensors", "--type", "f32"});
  CHECK(r.code == 6);
  CHECK(r.out.find("FAILED") != r.out.npos);
  CHECK(r.out.find("checks failed") != r.out.npos);
}
