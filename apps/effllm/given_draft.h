// Who drafts, as a command names it.
#pragma once
#include <optional>
#include <string>

#include "decode/draft.h"
#include "train/loaded_model.h"

namespace effllm::app {

struct GivenDraft {
  std::optional<LoadedModel> model;  // unless tokens are looked up
  DraftOptions options = {};
};

// A run folder or checkpoint, or `ngram`; `option` is what an error calls it. ConfigError where it doesn't go with the
// target: another tokenizer or vocabulary, or one of the two does not continue a text from left to right.
GivenDraft draft_of(const std::string& name, std::string_view option, int64_t tokens, const LoadedModel& target);

}  // namespace effllm::app
