// The blocks, which a model is a list of: the list of all.
#pragma once
#include "nn/layer.h"

namespace effllm {

extern const List<LayerInfo> all_blocks;
// The block of a layer that names none.
inline constexpr std::string_view kDefaultBlock = "residual";

}  // namespace effllm
