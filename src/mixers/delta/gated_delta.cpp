// Gated DeltaNet: the delta rule on a state that decays by a gate of the input, one per head.
//
//   q, k = l2_norm(silu(conv(W x))) per head,  v = silu(conv(W_v x)),  beta_t = sigmoid(W_b x_t)
//   log a_t = -exp(a_log) softplus(W_a x_t + dt_bias)
//   S' = a_t S_{t-1},   S_t = S' + beta_t k_t (v_t - S'^T k_t)^T,   o_t = S_t^T q_t / sqrt(dk)
//   y_t = W_o (rms_norm(o_t) * silu(W_g x_t)), the norm per head
//
// Remembers S, [H, dk, dv] per sequence, and the tail of the convolution. Yang, Kautz and Hatamizadeh 2024,
// arXiv:2412.06464, as in the authors' code.
#include <algorithm>
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

constexpr double kNormEps = 1e-5, kUnitEps = 1e-6;

// exp(a_log) uniform in (0, 16).
double start_of_a_log(double u, int64_t, int64_t) { return std::log(16 * std::max(u, 1e-9)); }
// softplus(dt_bias) log-uniform in [0.001, 0.1].
double start_of_dt_bias(double u, int64_t, int64_t) {
  const double dt = 0.001 * std::pow(100.0, u);
  return std::log(std::expm1(dt));
}

struct GatedDeltaOptions final : Options {
  int64_t heads = 4, conv = 4;
  double expand_k = 0.75, expand_v = 1.5;
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
    augment.visit(v);
  }
};

class GatedDelta final : public Layer {
 public:
  using Options = GatedDeltaOptions;

  GatedDelta(const Options& o, const LayerArgs& args, const Scope& s)
      : heads_(o.heads),
        keys_(width(o.expand_k, args.d_model)),
        values_(width(o.expand_v, args.d_model)),
        beta_scale_(o.negative_eigenvalues ? 2 : 1),
        qkvg_(s / "qkvg", args.d_model, {keys_, keys_, values_, values_}, Init::torch_linear(args.d_model)),
        gates_(s / "gates", args.d_model, {heads_, heads_}, Init::torch_linear(args.d_model)),
        out_(s / "out", values_, args.d_model, Init::torch_linear(values_), Role::residual),
        norm_(s / "norm", values_ / o.heads, kNormEps),
        augment_(o.augment, s, heads_, values_),
        a_log_(&s.param("a_log", {heads_}, Init::mapped(start_of_a_log), {.decay = false})),
        dt_bias_(&s.param("dt_bias", {heads_}, Init::mapped(start_of_dt_bias), {.decay = false})) {
    if (keys_ % heads_ || values_ % heads_)
      throw_at(o.mark, fmt::format("gated_delta: {} heads don't divide key width {} and value width {}", heads_, keys_,
                                   values_));
    if (o.conv > 0) conv_ = std::make_unique<ShortConv>(s / "conv", o.conv, 2 * keys_ + values_, true);
  }

  void declare(Site& site) const override {
    site.field("s", {heads_, keys_ / heads_, values_ / heads_});
    if (conv_) conv_->declare(site);
    augment_.declare(site);
  }

 protected:
  Tensor run(const Tensor& x, const Call& call) const override {
    const auto gates = split_columns(gates_(x), {heads_, heads_});
    Tensor beta = sigmoid(gates[0]);
    if (beta_scale_ != 1) beta = scale(beta, beta_scale_);
    const Tensor dt = pointwise(Pointwise::softplus, affine_columns(gates[1], {}, dt_bias_->value));
    const Tensor log_decay = affine_columns(dt, scale(pointwise(Pointwise::exp, a_log_->value), -1));

    const auto qkv_g = split_columns(qkvg_(x), {2 * keys_ + values_, values_});
    const Tensor qkv = conv_ ? (*conv_)(qkv_g[0], call) : silu(qkv_g[0]);
    const auto parts = split_columns(qkv, {2 * keys_, values_});
    const int64_t head_keys = keys_ / heads_;
    const auto qk = split_columns(l2_norm(parts[0], head_keys, kUnitEps), {keys_, keys_});
    auto [o, after] = delta(scale(qk[0], 1 / std::sqrt(static_cast<double>(head_keys))), qk[1], parts[1], beta,
                            log_decay, call.read("s"), call.segments(), {.heads = heads_, .chunk = call.pass().chunk});
    call.write("s", after);
    return out_(multiply(norm_(augment_(o, parts[1], call)), silu(qkv_g[1])));
  }

 private:
  static int64_t width(double expand, int64_t d) { return std::llround(expand * static_cast<double>(d)); }
  int64_t heads_, keys_, values_;
  double beta_scale_;
  Linear qkvg_, gates_, out_;
  RmsNorm norm_;
  Augment augment_;
  Parameter *a_log_, *dt_bias_;
  std::unique_ptr<ShortConv> conv_;
};

constexpr std::string_view kVariants[] = {"{negative_eigenvalues: true}", "{conv: 0}",
                                          "{heads: 1, expand_k: 0.5, expand_v: 2}",
                                          "{augment: dwconv, augment_taps: 4}"};

}  // namespace

extern constinit const LayerInfo gated_delta = LayerInfo::of<GatedDelta>({
    .name = "gated_delta",
    .title = "Gated DeltaNet",
    .family = "delta rule",
    .recurrence = "delta",
    .paper = "Yang, Kautz and Hatamizadeh 2024, arXiv:2412.06464",
    .source = "NVlabs/GatedDeltaNet@5ddd1e4, lit_gpt/gated_delta_net.py and model.py",
    .deviations = "computed by a time-tiled recurrence at every length instead of the paper's chunks; q, k, v and the "
                  "output gate are one matrix, with one convolution, beta and the decay another; beta has no "
                  "bias, which starts at 0 there; what decays: theirs decays everything, here a_log, dt_bias and "
                  "norms don't, as their marks in the code say",
    .tiny = "{heads: 2}",
    .variants = kVariants,
});

}  // namespace effllm::mixers
