// Stochastic depth: in training each sample skips the block with some probability, so that shallow paths through the
// model learn too; afterwards the block is always there.
//
//   y = block(x) where u >= p, x elsewhere; p = S D rate; nothing is rescaled
//   D = 1, or 2^(l / (L-1)) - 1 in layer l of L; S = 1, or 2^t - 1 with the part t of the run done
//
// u is a number of (seed, step, place, sample). Samples that stay run together, and a sample that skips the block
// leaves what it remembers as it was. Huang et al. 2016, arXiv:1603.09382; rates as in LayerSkip, Elhoushi et al. 2024,
// arXiv:2404.16710.
#include <cmath>

#include "blocks/block.h"
#include "blocks/residual.h"
#include "nn/run_picked.h"

namespace effllm::blocks {
namespace {

struct LayerDropOptions final : ResidualOptions {
  double rate = 0.1;
  std::string depth = "uniform", curriculum = "none";
  void visit(OptionVisitor& v) override {
    ResidualOptions::visit(v);
    v("rate", rate, "Sets the probability that training leaves out the block for a sample.", between(0, 0.99));
    v("depth", depth, "Lets the rate be the same in all layers, or grow exponentially from 0 to `rate` in the last.",
      {"uniform", "exp"});
    v("curriculum", curriculum,
      "Lets the rate be the same in all steps, or grow exponentially from 0 at the first to the whole at the last, for "
      "training from scratch.",
      {"none", "exponential"});
  }
};

class LayerDrop final : public Residual {
 public:
  using Options = LayerDropOptions;
  LayerDrop(const Options& o, const LayerArgs& args, const Scope& s)
      : Residual(o, args, s),
        rate_(o.rate * (o.depth == "exp" && args.layers > 1 ? share_of(args) : 1)),
        grows_(o.curriculum == "exponential") {
    if (o.depth == "exp" && args.used_again)
      throw_at(o.mark, "layer_drop: depth: exp gives each place a rate, but layers at several places use this one");
  }

  void declare(Site& site) const override {
    if (rate_ > 0) site.may_be_left_out();
    Residual::declare(site);
  }

 protected:
  Tensor run(const Tensor& x, const Call& call) const override {
    // On shapes alone, the most of any step.
    const double rate = call.left_out(rate_) * (grows_ && !x.is_meta() ? std::exp2(call.pass().progress) - 1 : 1);
    if (rate == 0) return Residual::run(x, call);
    const RandomStream numbers = call.random("drop");
    Sequences stay;
    for (int64_t b = 0; b < x.dim(0); ++b)  // on shapes alone all stay: fewer take what is free of their buffers
      if (x.is_meta() || numbers.uniform(static_cast<uint64_t>(call.tokens().samples[b])) >= rate) stay.push_back(b);
    return run_picked(x, call, stay, [&](const Tensor& in, const Call& c) {
      Tokens tokens = c.tokens();
      tokens.share *= 1 - rate;  // as a rule
      return Residual::run(in, c.with(c.pass(), tokens));
    });
  }

 private:
  static double share_of(const LayerArgs& args) {
    return std::exp2(static_cast<double>(args.layer) / static_cast<double>(args.layers - 1)) - 1;
  }
  double rate_;
  bool grows_;
};

constexpr std::string_view kVariants[] = {"{rate: 0.5, depth: exp, ffn: none, dropout: 0.2}",
                                          "{rate: 0.9, curriculum: exponential}"};

}  // namespace

extern constinit const LayerInfo layer_drop = LayerInfo::of<LayerDrop>({
    .name = "layer_drop",
    .title = "Residual block that samples skip in training",
    .family = "block",
    .recurrence = "that of its mixer",
    .paper = "Huang et al. 2016, arXiv:1603.09382; Elhoushi et al. 2024, arXiv:2404.16710",
    .source = "pytorch/torchtune@bd2a0fc, torchtune/modules/layer_dropout.py, to which the authors of LayerSkip point",
    .deviations =
        "curriculum: exponential goes by the part of the horizon that is done, be it in steps, tokens, FLOPs or time, "
        "where the paper's S(t) divides by T - 1 steps and the code has none; the early exit loss that goes with it is "
        "an option of objectives; what `describe` and the plan of memory count is training that no sample skips",
    .prefix_and_blocks = true,
    .outside_training = kDefaultBlock,
    .unseen = "what its mixer meets",
    .needs = "{mixer: {type: attention}, ffn: {type: swiglu}}",
    .tiny = "{rate: 0.3, mixer: {type: attention, heads: 2, window: 5}, ffn: mlp}",
    .period = 5,
    .variants = kVariants,
});

}  // namespace effllm::blocks
