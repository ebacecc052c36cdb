// The channel mixers, which map every token by itself (a few look at the one before): the list of all.
#pragma once
#include "nn/sequence_mixer.h"

namespace effllm {

using ChannelMixer = SequenceMixer;  // one contract
using FfnInfo = MixerInfo;

extern const List<FfnInfo> all_ffns;

}  // namespace effllm
