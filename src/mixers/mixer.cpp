#include "mixers/mixer.h"

#include <algorithm>

#include "config/find.h"

namespace effllm {
namespace {

constexpr const MixerInfo* kAll[] = {
#define EFFLLM_MIXER(id) &mixers::id,
#include "mixers/all.def"
#undef EFFLLM_MIXER
};

}  // namespace

std::span<const MixerInfo* const> all_mixers() { return kAll; }

const MixerInfo& find_mixer(std::string_view name, const Mark& where) {
  return find_by_name<MixerInfo>(kAll, name, "mixer", where);
}

bool has_causal_form(const ConfigNode& given) {
  const ConfigNode node = as_map(given);
  const MixerInfo& info = find_mixer(node.type(), node.mark());
  const auto options = info.options();
  read(*options, node, info.name);
  return info.causal_form &&
         std::ranges::all_of(options->nested(), [](const ConfigNode* inner) { return has_causal_form(*inner); });
}

std::unique_ptr<SequenceMixer> build_mixer(const ConfigNode& given, const MixerArgs& args, const Scope& scope) {
  const ConfigNode node = as_map(given);
  const MixerInfo& info = find_mixer(node.type(), node.mark());
  const auto options = info.options();
  read(*options, node, info.name);
  options->mark = node.mark();
  return info.build(*options, args, scope);
}

}  // namespace effllm
