#include "checkpoint/state_file.h"

namespace effllm {

std::vector<NamedTensor> named_tensors(const State& state) {
  std::vector<NamedTensor> all;
  state.each([&](const StateField& f, const Tensor& t) { all.push_back({"state." + f.path, t}); });
  return all;
}

bool load_state_tensor(const SafetensorsFile& file, const std::string& path, const NamedTensor& t) {
  static constexpr std::string_view kCount = ".seen";
  if (load_tensor(file, path, t.name, t.value)) return true;
  if (!t.name.ends_with(kCount)) return false;
  return load_tensor(file, path, t.name.substr(0, t.name.size() - kCount.size()) + ".mixer.seen", t.value);
}

void save_state(const std::filesystem::path& file, const State& state) {
  save_checkpoint(file, ParamStore(), named_tensors(state), {});
}

void load_state(const std::filesystem::path& file, const State& state) {
  const SafetensorsFile stored(file);
  require_checkpoint(stored, file.string());
  for (const NamedTensor& t : named_tensors(state))
    if (!load_state_tensor(stored, file.string(), t))
      throw CheckpointError("{}: there is no `{}`, which this model remembers", file.string(), t.name);
}

}  // namespace effllm
