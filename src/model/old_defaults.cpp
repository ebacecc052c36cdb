#include "model/old_defaults.h"

#include <algorithm>
#include <string>

namespace effllm {
namespace {

constexpr OldDefault kChanged[] = {
    {2, "gla", "norm_eps", "1e-5"},
    {2, "delta_net", "norm_eps", "1e-5"},
    {2, "parallel", "norm_eps", "1e-5"},
    {2, "retnet", "row_scale", "false"},
};

void complete(AnyChoice& part, int version, std::span<const OldDefault> changed) {
  std::unique_ptr<Options> options = part.copied_options();
  for (const OldDefault& d : changed)
    if (version < d.changed_in && part.name() == d.mechanism &&
        std::ranges::find(options->given, d.key) == options->given.end())
      read(*options, ConfigNode::map(part.mark()).with(d.key, ConfigNode::scalar(std::string(d.value))), part.name());
  for (const auto& inner : nested_choices(*options))
    if (*inner.choice) complete(*inner.choice, version, changed);
  part.set_options(std::move(options));
}

}  // namespace

std::span<const OldDefault> old_defaults() { return kChanged; }

void use_defaults_of(int version, ModelConfig& config, std::span<const OldDefault> changed) {
  if (std::ranges::none_of(changed, [&](const OldDefault& d) { return version < d.changed_in; })) return;
  for (LayerSpec& layer : config.layers) complete(layer.block, version, changed);
}

}  // namespace effllm
