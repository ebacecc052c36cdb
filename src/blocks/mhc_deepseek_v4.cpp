// Manifold-constrained hyper-connections in the form of DeepSeek-V4, which differs from the paper's.
//
//   pre | post | res = a W rms_norm(all streams) + b, a number a for each of the three
//   input = sum_j (sigmoid(pre)_j + eps) h_j,  h_i <- sum_j R_ji h_j + 2 sigmoid(post)_i f(input)
//   R = Sinkhorn of softmax(res) + eps, its columns divided last
//
// What comes after the last layer reads sum_j (sigmoid(a' W' rms_norm(all streams) + b')_j + eps) h_j.
#include "blocks/manifold.h"

namespace effllm::blocks {

extern constinit const LayerInfo mhc_deepseek_v4 = LayerInfo::of<ManifoldIn<Manifold::Form::released>>(
    manifold_facts("mhc_deepseek_v4", "Manifold-constrained hyper-connections of DeepSeek-V4",
                   "huggingface/transformers@3614558, models/deepseek_v4/modeling_deepseek_v4.py",
                   "any mixer, and a channel mixer or none, but neither `cross` nor `parallel`; where a block without "
                   "streams stands between layers, what "
                   "ends their streams before it is what ends them at the head"));

}  // namespace effllm::blocks
