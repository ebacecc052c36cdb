// The sequence mixers: the list, and how one is built from a configuration.
#pragma once
#include "nn/sequence_mixer.h"

namespace effllm {

namespace mixers {
#define EFFLLM_MIXER(id) extern const MixerInfo id;
#include "mixers/all.def"
#undef EFFLLM_MIXER
}  // namespace mixers

std::span<const MixerInfo* const> all_mixers();
// The mechanism that `node` names in its `type`, with the options beside it; `gla` stands for {type: gla}. ConfigError
// where either is wrong.
std::unique_ptr<SequenceMixer> build_mixer(const ConfigNode& node, const MixerArgs& args, const Scope& scope);
const MixerInfo& find_mixer(std::string_view name, const Mark& where = {});
// False where the mixer, or one inside it, can only run over all tokens at once.
bool has_causal_form(const ConfigNode& node);

}  // namespace effllm
