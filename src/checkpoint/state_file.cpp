#include "checkpoint/state_file.h"

namespace effllm {

std::vector<NamedTensor> named_tensors(const State& state) {
  std::vector<NamedTensor> all;
  state.each([&](const StateField& f, const Tensor& t) { all.push_back({"state." + f.path, t}); });
  return all;
}

void save_state(const std::filesystem::path& file, const State& state) {
  save_checkpoint(file, ParamStore(), named_tensors(state), {});
}

void load_state(const std::filesystem::path& file, const State& state) {
  const SafetensorsFile stored(file);
  require_checkpoint(stored, file.string());
  for (const NamedTensor& t : named_tensors(state))
    if (!load_tensor(stored, file.string(), t.name, t.value))
      throw CheckpointError("{}: there is no `{}`, which this model remembers", file.string(), t.name);
}

}  // namespace effllm
