// DeltaNet: a matrix state that is corrected towards v under each key, instead of adding up.
//
//   q, k = l2_norm(silu(conv(W x))) per head,  v = silu(conv(W_v x)),  beta_t = sigmoid(W_b x_t), one per head
//   S_t = S_{t-1} + beta_t k_t (v_t - S_{t-1}^T k_t)^T,   o_t = S_t^T q_t / sqrt(dk)
//   y_t = W_o rms_norm(o_t), the norm per head
//
// One step of gradient descent on |S^T k - v|^2 / 2 a token. Remembers S, [H, dk, dv] per sequence, and the tail of the
// convolution. Schlag et al. 2021, arXiv:2102.11174; Yang et al. 2024, arXiv:2406.06484, as in the authors' code.
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
namespace {

constexpr double kUnitEps = 1e-6, kInitStd = 0.02;

struct DeltaNetOptions final : Options {
  int64_t heads = 4, conv = 4;
  double expand_k = 1, expand_v = 1, norm_eps = 1e-6;
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
    visit_norm_eps(v, norm_eps);
    augment.visit(v);
  }
};

class DeltaNet final : public Layer {
 public:
  using Options = DeltaNetOptions;

  DeltaNet(const Options& o, const LayerArgs& args, const Scope& s)
      : heads_(o.heads),
        keys_(width(o.expand_k, args.d_model)),
        values_(width(o.expand_v, args.d_model)),
        beta_scale_(o.negative_eigenvalues ? 2 : 1),
        qkv_(s / "qkv", args.d_model, {keys_, keys_, values_}, Init::normal(kInitStd)),
        beta_(s / "beta", args.d_model, heads_, Init::normal(kInitStd)),
        out_(s / "out", values_, args.d_model, Init::normal(kInitStd), Role::residual),
        norm_(s / "norm", values_ / o.heads, o.norm_eps),
        augment_(o.augment, s, heads_, values_) {
    if (keys_ % heads_ || values_ % heads_)
      throw_at(o.mark,
               fmt::format("delta_net: {} heads don't divide key width {} and value width {}", heads_, keys_, values_));
    if (o.conv > 0)
      conv_ = std::make_unique<ShortConv>(s / "conv", o.conv, 2 * keys_ + values_, true, false, Init::normal(kInitStd));
  }

  void declare(Site& site) const override {
    site.field("s", {heads_, keys_ / heads_, values_ / heads_});
    if (conv_) conv_->declare(site);
    augment_.declare(site);
  }
  LongText long_text(int64_t) const override { return {.unseen = true, .anew = true}; }

 protected:
  Tensor run(const Tensor& x, const Call& call) const override {
    Tensor qkv = qkv_(x);
    qkv = conv_ ? (*conv_)(qkv, call) : silu(qkv);
    const auto parts = split_columns(qkv, {2 * keys_, values_});
    const int64_t head_keys = keys_ / heads_;
    const auto qk = split_columns(l2_norm(parts[0], head_keys, kUnitEps), {keys_, keys_});
    Tensor beta = sigmoid(beta_(x));
    if (beta_scale_ != 1) beta = scale(beta, beta_scale_);
    auto [o, after] = delta(scale(qk[0], 1 / std::sqrt(static_cast<double>(head_keys))), qk[1], parts[1], beta, {},
                            call.read("s"), call.segments(), {.heads = heads_, .chunk = call.pass().chunk});
    call.write("s", after);
    return out_(norm_(augment_(o, parts[1], call)));
  }

 private:
  static int64_t width(double expand, int64_t d) { return std::llround(expand * static_cast<double>(d)); }
  int64_t heads_, keys_, values_;
  double beta_scale_;
  Linear qkv_, beta_, out_;
  RmsNorm norm_;
  Augment augment_;
  std::unique_ptr<ShortConv> conv_;
};

constexpr std::string_view kVariants[] = {"{negative_eigenvalues: true}", "{conv: 0}",
                                          "{heads: 1, expand_k: 0.5, expand_v: 2}",
                                          "{augment: dwconv, augment_taps: 4}"};

}  // namespace

extern constinit const LayerInfo delta_net = LayerInfo::of<DeltaNet>({
    .name = "delta_net",
    .title = "DeltaNet",
    .family = "delta rule",
    .recurrence = "delta",
    .paper = "Yang et al. 2024, arXiv:2406.06484",
    .source = "fla-org/flash-linear-attention@bc3b101, layers and models of delta_net",
    .deviations =
        "computed by a time-tiled recurrence at every length instead of the paper's chunks; q, k and v are one "
        "matrix and one convolution; without a convolution SiLU stays",
    .unseen = "what more tokens leave in a state that nothing decays",
    .tiny = "{heads: 2}",
    .variants = kVariants,
});

}  // namespace effllm::mixers
