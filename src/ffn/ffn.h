// The channel mixers, which map every token by itself (a few look at the one before): the list, and how one is built.
#pragma once
#include "nn/sequence_mixer.h"

namespace effllm {

using ChannelMixer = SequenceMixer;  // one contract
using FfnInfo = MixerInfo;

namespace ffns {
#define EFFLLM_FFN(id) extern const FfnInfo id;
#include "ffn/all.def"
#undef EFFLLM_FFN
}  // namespace ffns

std::span<const FfnInfo* const> all_ffns();
const FfnInfo& find_ffn(std::string_view name, const Mark& where = {});
std::unique_ptr<ChannelMixer> build_ffn(const ConfigNode& node, const MixerArgs& args, const Scope& scope);

}  // namespace effllm
