// The sequence mixers: the list of all.
#pragma once
#include "nn/layer.h"

namespace effllm {

extern const List<LayerInfo> all_mixers;

// False where the mixer, or one inside it, can only run over all tokens at once.
bool has_causal_form(const Choice<LayerInfo>& mixer);

}  // namespace effllm
