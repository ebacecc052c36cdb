#include "ffn/ffn.h"

#include "config/find.h"

namespace effllm {
namespace {

constexpr const FfnInfo* kAll[] = {
#define EFFLLM_FFN(id) &ffns::id,
#include "ffn/all.def"
#undef EFFLLM_FFN
};

}  // namespace

std::span<const FfnInfo* const> all_ffns() { return kAll; }

const FfnInfo& find_ffn(std::string_view name, const Mark& where) {
  return find_by_name<FfnInfo>(kAll, name, "ffn", where);
}

std::unique_ptr<ChannelMixer> build_ffn(const ConfigNode& node, const MixerArgs& args, const Scope& scope) {
  const FfnInfo& info = find_ffn(node.type(), node.mark());
  const auto options = info.options();
  options->mark = node.mark();
  read(*options, node, info.name);
  return info.build(*options, args, scope);
}

}  // namespace effllm
