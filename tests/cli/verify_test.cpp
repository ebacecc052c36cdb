// effllm verify on configurations and trained models.
#include <cstring>
#include <limits>

#include "cli/system.h"
#include "io/safetensors.h"

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
  const effllm::SafetensorsFile good(w.scratch.path / "runs/tiny/ckpt/step_000000005.safetensors");
  std::vector<effllm::StoredTensor> tensors;
  std::vector<std::byte> spoilt;
  for (effllm::StoredTensor t : good.tensors()) {
    if (t.name == "layers.1.mixer.out.weight") {
      spoilt.assign(t.data, t.data + t.bytes);
      const float nan = std::numeric_limits<float>::quiet_NaN();
      std::memcpy(spoilt.data(), &nan, sizeof nan);
      t.data = spoilt.data();
    }
    tensors.push_back(t);
  }
  REQUIRE(!spoilt.empty());
  auto metadata = good.metadata();
  metadata.erase("digest");
  effllm::write_safetensors(w.scratch.path / "spoilt.safetensors", tensors, metadata);
  const Ended r = w.effllm({"verify", "spoilt.safetensors", "--type", "f32"});
  CHECK(r.code == 6);
  CHECK(r.out.find("FAILED") != r.out.npos);
  CHECK(r.out.find("checks failed") != r.out.npos);
}
