#include "shared.h"

#include <filesystem>

#include "data/corpus.h"
#include "train/loaded_model.h"

namespace effllm::app {

RunConfig load_run_config(const std::string& file, const std::vector<std::string>& overrides) {
  ConfigNode root = load_config(file);
  int index = 0;
  for (const auto& o : overrides) apply_override(root, o, ++index);
  return read_run_config(root, file);
}

RunConfig config_of(const std::string& model, const std::vector<std::string>& overrides) {
  const std::filesystem::path path(model);
  std::error_code error;
  if (!std::filesystem::is_directory(path, error) && path.extension() != ".safetensors")
    return load_run_config(model, overrides);
  if (!overrides.empty()) throw ConfigError("--set changes a configuration; {} is a trained model", model);
  return load_model(path).config;
}

int64_t vocab_of(const RunConfig& c) {
  if (c.data.tokenizer == "byte") return 256;
  return build_tokenizer(c.data.tokenizer, Corpus::open(c.data.corpus, c.folder).text())->vocab_size();
}

}  // namespace effllm::app
