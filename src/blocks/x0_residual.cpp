// A residual block that reads the first stream again.
//
//   x <- a x + b x0, then the residual block
//
// x0 is the stream as it enters the first layer of this kind: where that is the model's first, the embedding. a and b
// are learned, a a hundred times slower. Jordan et al., modded-nanogpt; Karpathy, nanochat.
#include <algorithm>

#include "blocks/residual.h"
#include "ops/scaled_sum.h"

namespace effllm::blocks {
namespace {

constexpr std::string_view kFirst = "x0";

class X0Residual final : public Residual {
 public:
  X0Residual(const Options& o, const LayerArgs& args, const Scope& s)
      : Residual(o, args, s),
        width_(args.d_model),
        stream_(&s.param("stream_scale", {1}, Init::constant(1.15 - 0.10 * depth(args)), {.lr_scale = 0.01})),
        x0_(&s.param("x0_scale", {1}, Init::constant(0.20 - 0.15 * depth(args)), {.decay = false})) {}

  void declare(Site& site) const override {
    site.on_shelf(kFirst) ? site.needs(kFirst, width_) : site.gives(kFirst, width_);
    Residual::declare(site);
  }

 protected:
  Tensor run(const Tensor& x, const Call& call) const override {
    const bool first = call.site().gives(kFirst);
    if (first) call.give(kFirst, x);
    return Residual::run(scaled_sum(x, stream_->value, first ? x : call.take(kFirst), x0_->value), call);
  }

 private:
  static double depth(const LayerArgs& args) {  // 0 in the first layer, 1 in the last
    return static_cast<double>(args.layer) / static_cast<double>(std::max<int64_t>(1, args.layers - 1));
  }
  int64_t width_;
  Parameter *stream_, *x0_;
};

}  // namespace

extern constinit const LayerInfo x0_residual = LayerInfo::of<X0Residual>({
    .name = "x0_residual",
    .title = "Residual block that reads the first stream again",
    .family = "block",
    .recurrence = "that of its mixer",
    .paper = "none: a recipe of modded-nanogpt and nanochat",
    .source = "karpathy/nanochat@92d63d4, nanochat/gpt.py",
    .deviations = "x0 is the stream as it is, there the normed embedding; the run's betas and weight decay, there 0.8 "
                  "and 0.96, and "
                  "0.05 for a; any mixer, and a channel mixer or none",
    .prefix_and_blocks = true,
    .unseen = "what its mixer meets",
    .needs = "{mixer: {type: attention}, ffn: {type: swiglu}}",
    .tiny = "{mixer: {type: attention, heads: 2, window: 5}, ffn: mlp}",
    .period = 5,
});

}  // namespace effllm::blocks
