// Manifold-constrained hyper-connections as the Transformers library first had them, in release 5.8.0, for weights of
// DeepSeek-V4 that were trained in another form (mhc_deepseek_v4).
//
//   pre | post | res = a W rms_norm(all streams) + b, a number a for each of the three
//   input = sum_j (sigmoid(pre)_j + eps) h_j,  h_i <- sum_j R_ij h_j + (sigmoid(post)_i + eps) f(input)
//   R = Sinkhorn of sigmoid(res) + eps, rows divided before columns
//
// What comes after the last layer reads sum_j (sigmoid(a' W' rms_norm(all streams) + b')_j + eps) h_j.
#include "blocks/manifold.h"

namespace effllm::blocks {

extern constinit const LayerInfo mhc_transformers = LayerInfo::of<ManifoldIn<Manifold::Form::library>>(manifold_facts(
    "mhc_transformers", "Manifold-constrained hyper-connections of Transformers 5.8.0",
    "huggingface/transformers@02356fe, models/deepseek_v4/modular_deepseek_v4.py (release 5.8.0; 5.8.1 has "
    "what DeepSeek-V4 was trained with)",
    "any mixer, and a channel mixer or none, but neither `cross` nor `parallel`; where a block without streams stands "
    "between layers, what "
    "ends their streams before it is what ends them at the head"));

}  // namespace effllm::blocks
