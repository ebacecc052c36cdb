// What DeltaNet and Gated DeltaNet share: their options, and a state that is corrected towards v under keys of
// length 1.
#pragma once
#include <cmath>

#include "cores/delta/delta.h"
#include "mixers/mixer.h"
#include "nn/augment.h"
#include "nn/linear.h"
#include "nn/norm.h"
#include "nn/short_conv.h"
#include "ops/arithmetic.h"
#include "ops/columns.h"
#include "ops/norm.h"
#include "ops/pointwise.h"

namespace effllm::mixers {

struct DeltaRuleOptions : Options {
  int64_t heads = 4, conv = 4;
  double expand_k = 1, expand_v = 1;
  bool negative_eigenvalues = false;
  AugmentOptions augment;
  void visit(OptionVisitor& v) override {
    v("heads", heads, "Sets the number of heads; they share out key and value width.", between(1, 1024));
    v("expand_k", expand_k, "Sets the key width, as a multiple of the model width.", between(0.01, 16));
    v("expand_v", expand_v, "Sets the value width, as a multiple of the model width.", between(0.01, 16));
    v("conv", conv, "Sets the width of a causal depthwise convolution over q, k and v, in tokens; 0 leaves it out.",
      between(0, 64));
    v("negative_eigenvalues", negative_eigenvalues,
      "Lets beta reach 2 instead of 1: a key may turn what it held around.");
  }
};

class DeltaRule : public Layer {
 public:
  void declare(Site& site) const override {
    site.field("s", {heads_, keys_ / heads_, values_ / heads_});
    if (conv_) conv_->declare(site);
    augment_.declare(site);
  }

 protected:
  DeltaRule(const DeltaRuleOptions& o, std::string_view name, const LayerArgs& args, const Scope& s, double norm_eps,
            const std::optional<Init>& conv = {})
      : heads_(o.heads),
        keys_(width_of(o.expand_k, args, o)),
        values_(width_of(o.expand_v, args, o)),
        beta_scale_(o.negative_eigenvalues ? 2 : 1),
        norm_(s / "norm", head_width(name, heads_, keys_, values_, o), norm_eps),
        augment_(o.augment, s, heads_, values_) {
    if (o.conv > 0) conv_ = std::make_unique<ShortConv>(s / "conv", o.conv, 2 * keys_ + values_, true, false, conv);
  }

  // What the state holds under q, normalised, [B, T, values]. qkv: [B, T, 2 keys + values] before the convolution;
  // beta: [B, T, H] before its sigmoid; log_decay: [B, T, H] or undefined.
  Tensor read(Tensor qkv, const Tensor& beta, const Tensor& log_decay, const Call& call) const {
    qkv = conv_ ? (*conv_)(qkv, call) : silu(qkv);
    const auto parts = split_columns(qkv, {2 * keys_, values_});
    const int64_t head_keys = keys_ / heads_;
    const auto qk = split_columns(l2_norm(parts[0], head_keys, kUnitEps), {keys_, keys_});
    Tensor rate = sigmoid(beta);
    if (beta_scale_ != 1) rate = scale(rate, beta_scale_);
    auto [o, after] = delta(scale(qk[0], 1 / std::sqrt(static_cast<double>(head_keys))), qk[1], parts[1], rate,
                            log_decay, call.read("s"), call.segments(), {.heads = heads_, .chunk = call.pass().chunk});
    call.write("s", after);
    return norm_(augment_(o, parts[1], call));
  }

  int64_t heads_, keys_, values_;

 private:
  static constexpr double kUnitEps = 1e-6;
  double beta_scale_;
  RmsNorm norm_;
  Augment augment_;
  std::unique_ptr<ShortConv> conv_;
};

}  // namespace effllm::mixers
