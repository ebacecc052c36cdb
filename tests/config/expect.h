// What the configuration tests share: the text of an error, comparison of trees.
#pragma once
#include <doctest/doctest.h>

#include <cstdlib>
#include <string>
#include <string_view>

#include "config/node.h"
#include "support/messages.h"

namespace effllm::testing {

// The message of the ConfigError that `action` throws; "" where it throws none. Other exceptions pass through.
template <class Action>
std::string config_error(Action&& action) {
  return message_of<ConfigError>(action);
}

// Whether a plain scalar means something else than its quoted form.
inline bool is_value(const std::string& text) {
  if (text.find_first_of("0123456789") == std::string::npos) return text == "true" || text == "false";
  char* end = nullptr;
  std::strtod(text.c_str(), &end);
  return *end == '\0';
}

// Same kinds, keys in the same order, texts and types. Quotes count only where they change the type.
inline bool same_tree(const ConfigNode& a, const ConfigNode& b) {
  if (a.kind() != b.kind() || a.text() != b.text() || a.items().size() != b.items().size()) return false;
  if (a.quoted() != b.quoted() && is_value(a.text())) return false;
  for (size_t i = 0; i < a.items().size(); ++i)
    if (!same_tree(a.items()[i], b.items()[i])) return false;
  if (a.entries().size() != b.entries().size()) return false;
  for (size_t i = 0; i < a.entries().size(); ++i)
    if (a.entries()[i].key != b.entries()[i].key || !same_tree(a.entries()[i].value, b.entries()[i].value))
      return false;
  return true;
}

// A configuration of the size and kind that people write.
inline constexpr std::string_view kExperiment = R"(# A small hybrid model.
version: 1
seed: 7
model:
  d_model: 256
  vocabulary: "bytes"
  tie_embeddings: true
  layers:
    - mixer: {type: gla, n_heads: 4, gate_low_rank: 16}
      ffn: {type: swiglu, expansion: 2.6666}
    - mixer:
        type: attention
        n_heads: 4
        window: 128
        positions: rotary
      ffn: &gated
        type: swiglu
        expansion: 2
    - mixer: {type: min_gru}
      ffn: *gated
data:
  corpus: kjv
  folder: ${env:EFFLLM_DATA_DIR,data}
  split: [0.9, 0.05, 0.05]
  note: 'it''s "quoted": yes # here'
train:
  steps: 2000
  batch: 16
  context: 256
  optimizer: {type: adamw, lr: 3e-3, betas: [0.9, 0.95], weight_decay: 0.1}
  schedule:
    - type: warmup
      steps: 100
    - type: cosine
      floor: 1e-4
  text: |
    first line
      second line
)";

}  // namespace effllm::testing
