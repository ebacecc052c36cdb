// effllm verify on configurations and trained models.
#include <limits>

#include "cli/system.h"
#include "support/mutate.h"

using namespace effllm::test;

TEST_CASE("cli verify: a configuration and a trained model pass, as a table and as JSON") {
  World w;
  const Ended untrained = w.ok({"verify", "tiny.yaml", "--tokens", "20"});
  CHECK(untrained.shows("random tokens"));
  CHECK(untrained.shows("all 26 checks hold"));
  w.ok({"train", "-c", "tiny.yaml", "--set", "train.max_steps=5"});
  const Ended trained = w.ok({"verify", "runs/tiny", "--type", "f64", "--json"});
  CHECK(trained.shows("text of its corpus"));
  CHECK(json_value(trained.out, "failed") == "0");
  w.ends({"verify", "tiny.yaml", "--set", "model.positions=learned", "--set", "train.context=2"}, 2,
         {"at least 4 tokens, but the model has learned positions for 2"});
  w.ends({"verify", "runs/tiny", "--set", "model.d_model=16"}, 2);
  CHECK(w.effllm({"verify", "runs/none"}).code != 0);
}

TEST_CASE("cli verify: a model whose numbers can't be compared fails, exit code 6") {
  World w;
  w.ok({"train", "-c", "tiny.yaml", "--set", "train.max_steps=5"});
  // Finite, but no longer where they are multiplied: a file with values that are not is refused before.
  copy_with_numbers(w.scratch.path / "runs/tiny/ckpt/step_000000005.safetensors", w.scratch.path / "spoilt.safetensors",
                    "final_norm.weight", std::numeric_limits<float>::max());
  const Ended r = w.ends({"verify", "spoilt.safetensors", "--type", "f32"}, 6);
  CHECK(r.shows("FAILED"));
  CHECK(r.shows("checks failed"));
}
