// The results of configs/mixers stand in one table: what they train with is the same.
#include <doctest/doctest.h>

#include <filesystem>
#include <map>

#include "config/node.h"
#include "support/paths.h"

using namespace effllm;

TEST_CASE("configs/mixers: they differ in the mixer and the name alone, but for what has a reason") {
  const std::string recurrent = "train.batch=16";  // sequences are kept together
  const std::map<std::string, std::string> own = {
      {"gru", recurrent},
      {"lstm", recurrent},
      {"rwkv6", "model.block={norm: layer_norm, ffn: {type: rwkv_channel_mix}}"}};  // its authors' block
  const std::filesystem::path folder = std::filesystem::path(test::kSourceDir) / "configs/mixers";
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().stem().string();
    CAPTURE(name);
    ++files;
    const ConfigNode config = load_config(entry.path());
    ConfigNode like = load_config(folder / "min_gru.yaml");
    like.set("name", "mixer_" + name);
    const ConfigNode& layer = config.find("model")->find("layers")->items()[0].find("of")->items()[0];
    apply_override(like, "model.layers[0].of[0]=" + to_flow_yaml(layer), 1);
    if (own.contains(name)) apply_override(like, own.at(name), 2);
    CHECK(layer.entries().size() == 1);
    CHECK(layer.find("mixer")->type() == name);
    CHECK(to_yaml(config) == to_yaml(like));
  }
  CHECK(files > 20);
}
