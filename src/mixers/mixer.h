// The sequence mixers: the list of all.
#pragma once
#include "nn/sequence_mixer.h"

namespace effllm {

extern const List<MixerInfo> all_mixers;

// False where the mixer, or one inside it, can only run over all tokens at once.
bool has_causal_form(const Choice<MixerInfo>& mixer);

}  // namespace effllm
