#include "io/state_file.h"

#include <fmt/format.h>

namespace effllm {

std::vector<NamedTensor> named_tensors(const LanguageModel& model, const ModelState& state) {
  std::vector<NamedTensor> all = {{"state.seen", state.seen}};
  const auto put = [&](const std::string& place, const MixerState& s) {
    auto name = s.names->begin();
    for (const Tensor& f : s.fields) all.push_back({fmt::format("state.{}.{}", place, *name++), f});
    all.push_back({fmt::format("state.{}.seen", place), s.seen});
  };
  for (int64_t i = 0; i < model.layers(); ++i) {
    const auto& block = state.blocks[static_cast<size_t>(i)];
    put(fmt::format("layers.{}.mixer", i), block.mixer);
    put(fmt::format("layers.{}.ffn", i), block.ffn);
  }
  return all;
}

void save_state(const std::filesystem::path& file, const LanguageModel& model, const ModelState& state) {
  save_checkpoint(file, ParamStore(), named_tensors(model, state), {});
}

void load_state(const std::filesystem::path& file, const LanguageModel& model, const ModelState& state) {
  const SafetensorsFile stored(file);
  require_checkpoint(stored, file.string());
  for (const NamedTensor& t : named_tensors(model, state))
    if (!load_tensor(stored, file.string(), t.name, t.value))
      throw CheckpointError("{}: there is no `{}`, which this model remembers", file.string(), t.name);
}

}  // namespace effllm
