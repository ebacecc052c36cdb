// The sequence mixers: the list of all.
#pragma once
#include "nn/layer.h"

namespace effllm {

extern const List<LayerInfo> all_mixers;

// False where the mixer, or one inside it, can only run over all tokens at once.
bool has_causal_form(const Choice<LayerInfo>& mixer);
// True where it can let each token see those after it: a composite where all that it runs can.
bool sees_both_sides(const Choice<LayerInfo>& mixer);
bool is_mixer(const Choice<LayerInfo>& part);  // or a channel mixer

}  // namespace effllm
