// A model that is asked through a server.
#pragma once
#include <string>

#include "decode/context_limit.h"
#include "serve/serve_limits.h"
#include "train/loaded_model.h"

namespace effllm {

struct ServedModel {
  const LoadedModel& loaded;
  std::string id;  // how requests name it
  ContextLimit context;
  ServeLimits limits;
  const LanguageModel& model() const { return *loaded.model; }
  const Tokenizer& tokenizer() const { return *loaded.tokenizer; }
  // Whether what each token costs after those before it is what the model computes.
  bool scores() const {
    return loaded.config.objective.type.build()->scores_tokens() && !model().has_encoder() && !model().config().prefix;
  }
};

}  // namespace effllm
