// How the output layers of Mamba and Mamba-2 start.
#pragma once
#include <cmath>

#include "nn/layer.h"

namespace effllm::mixers {

// As PyTorch's nn.Linear over the square root of how often a model's layers add to the residual stream: once each, or
// twice where they have a channel mixer (state-spaces/mamba@e9594ce, models/mixer_seq_simple.py).
inline Init mamba_out(int64_t width, const LayerArgs& args) {
  return Init::uniform(1 / std::sqrt(static_cast<double>(width * args.layers * (args.with_ffn ? 2 : 1))));
}

}  // namespace effllm::mixers
