#include "model/old_defaults.h"

#include <algorithm>
#include <string>

#include "ffn/ffn.h"
#include "mixers/mixer.h"

namespace effllm {
namespace {

constexpr OldDefault kChanged[] = {
    {2, "gla", "norm_eps", "1e-5"},
    {2, "delta_net", "norm_eps", "1e-5"},
    {2, "parallel", "norm_eps", "1e-5"},
    {2, "retnet", "row_scale", "false"},
};

template <class Find>
void complete(ConfigNode& part, Find find, int version, std::span<const OldDefault> changed) {
  part = as_map(part);
  const MixerInfo& info = find(part.type());
  const auto options = info.options();
  read(*options, part, info.name);
  for (const OldDefault& d : changed)
    if (version < d.changed_in && info.name == d.mechanism && !part.find(d.key)) part.set(d.key, d.value);
  const std::vector<ConfigNode*> inner = options->nested();
  if (inner.empty()) return;
  for (ConfigNode* n : inner) complete(*n, find, version, changed);
  const ConfigNode written = write(*options);
  for (const auto& entry : written.entries())
    if (!entry.value.is_scalar()) part.set(entry.key, entry.value);
}

}  // namespace

std::span<const OldDefault> old_defaults() { return kChanged; }

void use_defaults_of(int version, ModelConfig& config, std::span<const OldDefault> changed) {
  if (std::ranges::none_of(changed, [&](const OldDefault& d) { return version < d.changed_in; })) return;
  for (LayerSpec& layer : config.layers) {
    complete(
        layer.mixer, [](std::string_view n) -> const MixerInfo& { return find_mixer(n); }, version, changed);
    if (!layer.ffn.is_null())
      complete(
          layer.ffn, [](std::string_view n) -> const FfnInfo& { return find_ffn(n); }, version, changed);
  }
}

}  // namespace effllm
