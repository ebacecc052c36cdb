// The channel mixers, which map every token by itself (a few look at the one before): the list of all.
#pragma once
#include "nn/layer.h"

namespace effllm {

extern const List<LayerInfo> all_ffns;

}  // namespace effllm
