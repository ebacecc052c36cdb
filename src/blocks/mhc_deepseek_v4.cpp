// Manifold-constrained hyper-connections in the form of DeepSeek-V4, which differs from the paper's.
//
//   pre | post | res = a W rms_norm(all streams) + b, a number a for each of the three
//   input = sum_j (sigmoid(pre)_j + eps) h_j,  h_i <- sum_j R_ji h_j + 2 sigmoid(post)_i f(input)
//   R = Sinkhorn of softmax(res) + eps, its columns divided last
//
// What comes after the last layer reads sum_j (sigmoid(a' W' rms_norm(all streams) + b')_j + eps) h_j.
#include "blocks/manifold.h"

namespace effllm::blocks {
namespace {

class Released final : public Manifold {
 public:
  using Options = ManifoldOptions;
  Released(const Options& o, const LayerArgs& args, const Scope& s) : Manifold(o, args, s, Form::released) {}
};

}  // namespace

extern constinit const LayerInfo mhc_deepseek_v4 = LayerInfo::of<Released>({
    .name = "mhc_deepseek_v4",
    .title = "Manifold-constrained hyper-connections of DeepSeek-V4",
    .family = "block",
    .recurrence = "that of its mixer",
    .paper = "Xie et al. 2025, arXiv:2512.24880",
    .source = "huggingface/transformers@3614558, models/deepseek_v4/modeling_deepseek_v4.py",
    .deviations = "any mixer, and a channel mixer or none; where a block without streams stands between layers, what "
                  "ends their streams before it is what ends them at the head",
    .prefix_and_blocks = true,
    .unseen = "what its mixer meets",
    .needs = "{mixer: {type: attention}, ffn: {type: swiglu}}",
    .tiny = "{streams: 2, mixer: {type: attention, heads: 2, window: 5}, ffn: mlp}",
    .period = 5,
    .variants = kManifoldVariants,
});

}  // namespace effllm::blocks
