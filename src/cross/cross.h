// What a decoder reads an encoder's memory with: the list of all.
#pragma once
#include "nn/layer.h"

namespace effllm {

extern const List<LayerInfo> all_crosses;

}  // namespace effllm
