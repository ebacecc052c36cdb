// A model of large initial weights that is served.
#pragma once
#include "config/yaml.h"
#include "serve/served_model.h"
#include "support/named.h"

namespace effllm::test {

struct TinyServed {
  LoadedModel loaded;
  ServedModel served{.loaded = loaded, .id = "tiny", .context = {}, .limits = {}};

  TinyServed() {
    loaded.config = read_run_config(
        parse_config(
            "model: {d_model: 8, tie_embeddings: false, init: {std: 1.0}, layers: [{mixer: {type: min_gru}}]}\n"
            "data: {corpus: none, tokenizer: char}\n"
            "train: {max_steps: 1}\n",
            "tiny.yaml"),
        "tiny.yaml");
    loaded.tokenizer = build_tokenizer("char", "\nabcdefgh");
    loaded.model = std::make_unique<LanguageModel>(loaded.config.model, loaded.tokenizer->vocab_size());
    loaded.model->params().materialize(5, DType::f32);
  }
};

}  // namespace effllm::test
