// Text from a model that sees more than the tokens before: of masked tokens some are chosen at each run of it, or of
// random ones all are drawn again.
#pragma once
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "decode/context_limit.h"
#include "decode/sampler.h"
#include "model/language_model.h"

namespace effllm {

struct DenoiseOptions {
  std::optional<int64_t> steps = {};  // runs of the model for each block; default: one for each of its tokens
  // Tokens that are masked no more before those after them are chosen; default: all that the context has room for.
  std::optional<int64_t> block = {};
  // In each step each masked token of the block is chosen with the same probability (ancestral sampling), or an equal
  // number of them, those of whose draws the model is the surest (`confident`).
  bool confident = false;
  bool given() const { return steps || block || confident; }
};

// ConfigError for less than one step, a block without tokens, and what the model's way of writing has no use for.
void check(const DenoiseOptions& options, const ModelConfig& model);

// Appends `tokens` tokens to a text, block by block, and tells each block, until `on_block` says false. Where the limit
// of the context is reached, it goes on from the last half. A function of the options and `sample`. A model of blocks
// (ModelConfig::block) has a state of those that are finished, and reads each once more when it is; one that writes
// from random tokens (ModelConfig::uniform) has one block.
void denoise(const LanguageModel& model, std::vector<int32_t> text, int64_t tokens, const DenoiseOptions& options,
             const SamplerOptions& sampler, const ContextLimit& limit, int64_t sample,
             const std::function<bool(std::span<const int32_t>)>& on_block);

}  // namespace effllm
