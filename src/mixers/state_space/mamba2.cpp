// Mamba-2: a selective state space model whose decay is one number a head, so that its state is a matrix that takes in
// outer products, as in linear attention.
//
//   x, B, C = silu(conv([x, B, C] rows of W_in u)),   dt = softplus(W_dt u + b)
//   S_t = exp(-exp(a_log) dt_t) S_{t-1} + B_t (dt_t x_t)^T,   y_t = S_t^T C_t + d x_t
//   out_t = W_o rms_norm(y_t * silu(W_z u_t)), the norm over the columns of each group
//
// B and C are shared by the heads of a group. Remembers S, [H, state, head_dim] per sequence, and the tail of the
// convolution. Dao and Gu 2024, arXiv:2405.21060.
#include <cmath>

#include "base/text.h"
#include "cores/gla/gla.h"
#include "mixers/mixer.h"
#include "mixers/state_space/mamba_out.h"
#include "nn/linear.h"
#include "nn/short_conv.h"
#include "ops/arithmetic.h"
#include "ops/columns.h"
#include "ops/gated_skip.h"
#include "ops/groups.h"
#include "ops/norm.h"
#include "ops/pointwise.h"

namespace effllm::mixers {
namespace {

constexpr double kNormEps = 1e-5;

struct Mamba2Options final : Options {
  double expand = 2;
  int64_t head_dim = 64, state = 128, groups = 1, conv = 4;
  void visit(OptionVisitor& v) override {
    v("expand", expand, "Sets the inner width, as a multiple of the model width.", between(0.01, 16));
    v("head_dim", head_dim, "Sets the inner channels of a head.", between(1, 4096));
    v("state", state, "Sets the rows of a head's state, which is the width of B and C.", between(1, 4096));
    v("groups", groups, "Sets the number of groups of heads that share B and C.", between(1, 1024));
    v("conv", conv, "Sets the width of the causal depthwise convolution with SiLU over x, B and C, in tokens.",
      between(2, 64));
  }
};

// softplus^-1 of a step that is log-uniform in [1e-3, 0.1].
double inverse_step(double u, int64_t, int64_t) {
  const double dt = std::exp(std::log(1e-3) + u * (std::log(0.1) - std::log(1e-3)));
  return dt + std::log(-std::expm1(-dt));
}
double log_rate(double u, int64_t, int64_t) { return std::log(1 + 15 * u); }

class Mamba2 final : public Layer {
 public:
  using Options = Mamba2Options;

  Mamba2(const Options& o, const LayerArgs& args, const Scope& s)
      : inner_(width_of(o.expand, args, o)),
        heads_(std::max<int64_t>(1, inner_ / o.head_dim)),
        groups_(o.groups),
        state_(o.state),
        in_(s / "in", args.d_model, {inner_, inner_, groups_ * state_, groups_ * state_, heads_},
            Init::torch_linear(args.d_model)),
        out_(s / "out", inner_, args.d_model, mamba_out(inner_, args), Role::residual),
        conv_(s / "conv", o.conv, inner_ + 2 * groups_ * state_, true, true),
        dt_bias_(&s.param("dt_bias", {heads_}, Init::mapped(inverse_step), {.decay = false})),
        a_log_(&s.param("a_log", {heads_}, Init::mapped(log_rate), {.decay = false})),
        d_(&s.param("d", {heads_}, Init::ones(), {.decay = false})),
        norm_(&s.param("norm.weight", {inner_}, Init::ones(), {.decay = false})) {
    if (heads_ * o.head_dim != inner_)  // how many heads there are is not known then
      throw_at(o.mark, fmt::format("mamba2: head_dim {} does not divide the inner width {}", o.head_dim, inner_));
    if (heads_ % groups_)
      throw_at(o.mark, fmt::format("mamba2: {} groups don't divide {}", groups_, counted(heads_, "head")));
  }

  void declare(Site& site) const override {
    site.field("s", {heads_, state_, inner_ / heads_});
    conv_.declare(site);
  }

 protected:
  Tensor run(const Tensor& u, const Call& call) const override {
    const int64_t shared = groups_ * state_;
    const auto z_xbc_dt = split_columns(in_(u), {inner_, inner_ + 2 * shared, heads_});
    const Tensor dt = pointwise(Pointwise::softplus, affine_columns(z_xbc_dt[2], {}, dt_bias_->value));
    const Tensor log_decay = affine_columns(dt, scale(pointwise(Pointwise::exp, a_log_->value), -1));
    const auto xbc = split_columns(conv_(z_xbc_dt[1], call), {inner_, shared, shared});
    const GlaOptions options{.heads = heads_, .decay = Decay::scalar, .chunk = call.pass().chunk, .key_heads = groups_};
    auto [o, after] =
        effllm::gla(xbc[2], xbc[1], multiply_groups(xbc[0], dt), log_decay, call.read("s"), call.segments(), options);
    call.write("s", after);
    return out_(norm(gated_skip(o, xbc[0], z_xbc_dt[0], d_->value)));
  }

 private:
  Tensor norm(const Tensor& y) const {
    if (groups_ == 1) return rms_norm(y, norm_->value, kNormEps);
    return affine_columns(rms_norm(y, inner_ / groups_, kNormEps), norm_->value);
  }

  int64_t inner_, heads_, groups_, state_;
  Linear in_, out_;
  ShortConv conv_;
  Parameter *dt_bias_, *a_log_, *d_, *norm_;
};

constexpr std::string_view kVariants[] = {"{groups: 2}", "{expand: 1, conv: 4, state: 3}"};

}  // namespace

extern constinit const LayerInfo mamba2 = LayerInfo::of<Mamba2>({
    .name = "mamba2",
    .title = "Mamba-2",
    .family = "state space",
    .recurrence = "gla",
    .paper = "Dao and Gu 2024, arXiv:2405.21060",
    .source = "state-spaces/mamba@e9594ce, modules/mamba2.py and models/mixer_seq_simple.py",
    .deviations =
        "computed by a time-tiled recurrence at every length instead of the paper's chunks (SSD); A's rates are "
        "drawn from (1, 16) as there, no limits of the step",
    .tiny = "{head_dim: 4, state: 5, conv: 3}",
    .variants = kVariants,
});

}  // namespace effllm::mixers
