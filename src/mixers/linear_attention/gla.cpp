// Gated linear attention: a matrix state whose rows decay by gates of the input.
//
//   S_t = diag(a_t) S_{t-1} + k_t v_t^T,   o_t = S_t^T q_t / sqrt(dk)
//   log a_t = log sigmoid(W_2 W_1 x_t + b) / temperature, per key channel; or log sigmoid(w x_t + b) / temperature,
//   one per head ("simple GLA")
//   y_t = W_o (rms_norm(o_t) * silu(W_g x_t)), the norm per head
//
// Remembers S, [H, dk, dv] per sequence, and the tail of the optional convolution. Yang et al. 2023, arXiv:2312.06635,
// as in the second author's flash-linear-attention.
#include "cores/gla/gla.h"

#include <cmath>

#include "mixers/mixer.h"
#include "nn/augment.h"
#include "nn/linear.h"
#include "nn/norm.h"
#include "nn/short_conv.h"
#include "ops/arithmetic.h"
#include "ops/columns.h"
#include "ops/pointwise.h"

namespace effllm::mixers {
namespace {

constexpr double kInitStd = 0.02;

struct GlaMixerOptions final : Options {
  int64_t heads = 4, gate_rank = 16, conv = 0;
  double expand_k = 0.5, expand_v = 1, gate_temperature = 16, norm_eps = 1e-6;
  std::string gate = "key";
  AugmentOptions augment;
  void visit(OptionVisitor& v) override {
    v("heads", heads, "Sets the number of heads; they share out key and value width.", between(1, 1024));
    v("expand_k", expand_k, "Sets the key width, as a multiple of the model width.", between(0.01, 16));
    v("expand_v", expand_v, "Sets the value width, as a multiple of the model width.", between(0.01, 16));
    v("gate", gate, "Chooses a decay for each key channel, or one a head.", {"key", "head"});
    v("gate_rank", gate_rank, "Sets the rank of the projection to the decays (gate: key).", between(1, 4096));
    v("gate_temperature", gate_temperature, "Divides the log decay: the larger, the longer the memory.",
      between(0.01, 1e6));
    v("conv", conv,
      "Sets the width of a causal depthwise convolution with SiLU over q, k and v, in tokens; 0 leaves it out.",
      between(0, 64));
    visit_norm_eps(v, norm_eps);
    augment.visit(v);
  }
};

class Gla final : public Layer {
 public:
  using Options = GlaMixerOptions;

  Gla(const Options& o, const LayerArgs& args, const Scope& s)
      : heads_(o.heads),
        keys_(width_of(o.expand_k, args, o)),
        values_(width_of(o.expand_v, args, o)),
        per_key_(o.gate == "key"),
        temperature_(o.gate_temperature),
        qkvg_(s / "qkvg", args.d_model, {keys_, keys_, values_, values_}, Init::normal(kInitStd)),
        out_(s / "out", values_, args.d_model, Init::normal(kInitStd), Role::residual),
        norm_(s / "norm", head_width("gla", heads_, keys_, values_, o), o.norm_eps),
        augment_(o.augment, s, heads_, values_) {
    if (per_key_) {
      decay_down_ = std::make_unique<Linear>(s / "decay_down", args.d_model, o.gate_rank, Init::normal(kInitStd));
      decay_ = std::make_unique<Linear>(s / "decay_up", o.gate_rank, keys_, Init::normal(kInitStd), Role::hidden, true);
    } else {
      decay_ = std::make_unique<Linear>(s / "decay", args.d_model, heads_, Init::normal(kInitStd), Role::hidden, true);
    }
    if (o.conv > 0)
      conv_ = std::make_unique<ShortConv>(s / "conv", o.conv, 2 * keys_ + values_, true, false, Init::normal(kInitStd));
  }

  void declare(Site& site) const override {
    site.field("s", {heads_, keys_ / heads_, values_ / heads_});
    if (conv_) conv_->declare(site);
    augment_.declare(site);
  }

 protected:
  Tensor run(const Tensor& x, const Call& call) const override {
    const Tensor log_decay =
        scale(pointwise(Pointwise::log_sigmoid, (*decay_)(decay_down_ ? (*decay_down_)(x) : x)), 1 / temperature_);
    const auto qkv_g = split_columns(qkvg_(x), {2 * keys_ + values_, values_});
    Tensor qkv = qkv_g[0];
    if (conv_) qkv = (*conv_)(qkv, call);
    const auto parts = split_columns(qkv, {keys_, keys_, values_});
    const GlaOptions options{
        .heads = heads_, .decay = per_key_ ? Decay::key : Decay::scalar, .chunk = call.pass().chunk};
    const int64_t head_keys = keys_ / heads_;
    const double q_scale = 1 / std::sqrt(static_cast<double>(head_keys));
    auto [o, after] =
        effllm::gla(scale(parts[0], q_scale), parts[1], parts[2], log_decay, call.read("s"), call.segments(), options);
    call.write("s", after);
    return out_(multiply(norm_(augment_(o, parts[2], call)), silu(qkv_g[1])));
  }

 private:
  int64_t heads_, keys_, values_;
  bool per_key_;
  double temperature_;
  Linear qkvg_, out_;
  RmsNorm norm_;
  Augment augment_;
  std::unique_ptr<Linear> decay_down_, decay_;
  std::unique_ptr<ShortConv> conv_;
};

constexpr std::string_view kVariants[] = {"{gate: head}", "{conv: 3}",
                                          "{expand_k: 1, expand_v: 2, gate_temperature: 1}",
                                          "{augment: dwconv, augment_taps: 4, conv: 3}"};

}  // namespace

extern constinit const LayerInfo gla = LayerInfo::of<Gla>({
    .name = "gla",
    .title = "Gated linear attention",
    .family = "linear attention",
    .recurrence = "gla",
    .paper = "Yang et al. 2023, arXiv:2312.06635",
    .source = "fla-org/flash-linear-attention@bc3b101, layers and models of gla",
    .deviations =
        "computed by a time-tiled recurrence at every length instead of the paper's two-level chunks; q, k, v "
        "and the output gate are one matrix; `gate: head` is the later simple GLA; start N(0, 0.02) throughout, the "
        "convolution included, as in the models of flash-linear-attention since 2025-03, where the first author's "
        "repository has q, k and the decays' matrices Xavier-uniform and a layer norm without weights",
    .tiny = "{heads: 2, gate_rank: 3}",
    .variants = kVariants,
});

}  // namespace effllm::mixers
