// What a model may become that grows: one with more tokens in its pattention, in channel mixers and projections.
#pragma once
#include <string>
#include <vector>

#include "model/model_config.h"

namespace effllm {

struct GrownConfig {
  ModelConfig config;  // with the scale of before, where one is kept
  // Places whose nonlinearity gives new tokens a share whatever their keys are, "model.layers[1].ffn (softmax)": with
  // none, the grown model can be the same function.
  std::vector<std::string> other_function;
};

// `wanted` is `before` with more tokens. ConfigError, naming the key, where it has fewer, differs otherwise, or nothing
// has grown. `file` is for the messages.
GrownConfig grown_config(const ModelConfig& before, const ModelConfig& wanted, const std::string& file);

}  // namespace effllm
