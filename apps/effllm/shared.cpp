#include "shared.h"

#include <filesystem>
#include <functional>
#include <memory>

#include "data/corpus.h"
#include "kernels/prepare.h"
#include "train/preflight.h"

namespace effllm::app {
namespace {

TextSizes sizes_if_there(const RunConfig& config, const std::function<Corpus()>& open) {
  try {
    return read_text(config, open()).sizes();
  } catch (const DataError&) {
    return {};
  }
}

}  // namespace

RunConfig load_run_config(const std::string& file, const std::vector<std::string>& overrides, const std::string& name) {
  ConfigNode root = load_config(file);
  int index = 0;
  for (const auto& o : overrides) apply_override(root, o, ++index);
  if (!name.empty()) {
    const Mark mark{std::make_shared<const Source>(Source{"--name", {name}}), 1, 1};
    root.set("name", ConfigNode::scalar(name, mark, true));
  }
  return read_run_config(root, file);
}

bool is_trained(const std::string& model) {
  std::error_code error;
  return std::filesystem::is_directory(model, error) || std::filesystem::path(model).extension() == ".safetensors";
}

void require_continuation(const LoadedModel& m) {
  if (const auto& task = m.config.data.task; task && !task.info().continues)
    throw ConfigError(
        "{} learned {}, whose targets are answers and not the tokens that follow: `effllm eval` scores "
        "them",
        m.checkpoint.string(), task.name());
}

ModelSource source_of(const std::string& model, const std::vector<std::string>& overrides) {
  if (!is_trained(model)) {
    RunConfig c = load_run_config(model, overrides);
    const int64_t vocab = vocab_of(c);
    const TextSizes text = sizes_if_there(c, [&] { return corpus_of(c); });
    return {std::move(c), vocab, text};
  }
  if (!overrides.empty()) throw ConfigError("--set changes a configuration; {} is a trained model", model);
  prepare_threads();
  LoadedModel m = load_model(model);
  const TextSizes text = sizes_if_there(m.config, [&] { return open_corpus(m); });
  return {std::move(m.config), m.model->vocab(), text};
}

}  // namespace effllm::app
