// RWKV-6 "Finch", the time mix: a matrix state with data-dependent decays per channel, read before the current token,
// which has a weight of its own; projections look at a learned mixture of this token and the one before.
//
//   xx = x_{t-1} - x_t,   x_i = x + xx * (mix_i + m_i),   m = U tanh(W (x + xx * mix_x)),   i of w, k, v, r, g
//   w_t = exp(-exp(decay_base + decay_up tanh(decay_down x_w)))
//   o_t = r^T (S_{t-1} + diag(bonus) k v^T),   S_t = diag(w_t) S_{t-1} + k v^T
//   y_t = W_o (group_norm(o_t) * silu(W_g x_g)), the norm per head
//
// Remembers S, [H, dh, dh], and the last token, [1, D], per sequence. Peng et al. 2024, arXiv:2404.05892, as in
// RWKV-LM's x060.
#include <cmath>

#include "cores/conv/token_mix.h"
#include "cores/gla/bonus.h"
#include "cores/gla/gla.h"
#include "mixers/mixer.h"
#include "nn/linear.h"
#include "ops/arithmetic.h"
#include "ops/block_linear.h"
#include "ops/columns.h"
#include "ops/norm.h"
#include "ops/pointwise.h"

namespace effllm::mixers {
namespace {

constexpr double kNormEps = 64e-5;
constexpr int64_t kParts = 5;  // w, k, v, r, g

struct Rwkv6Options final : Options {
  int64_t head_dim = 64, shift_rank = 32, decay_rank = 64;
  void visit(OptionVisitor& v) override {
    v("head_dim", head_dim, "Sets the channels of a head.", between(1, 4096));
    v("shift_rank", shift_rank, "Sets the rank of the data-dependent token shift, for each of its five parts.",
      between(1, 4096));
    v("decay_rank", decay_rank, "Sets the rank of the data-dependent decay.", between(1, 4096));
  }
};

// The ramps over channels and depth that RWKV-LM starts from.
struct Ramps {
  double width, deep, shallow;  // deep: 0 in the first layer to 1 in the last; shallow: 1 to almost 0
  Ramps(const LayerArgs& a)
      : width(static_cast<double>(a.d_model)),
        deep(a.layers > 1 ? static_cast<double>(a.layer) / static_cast<double>(a.layers - 1) : 0),
        shallow(1 - static_cast<double>(a.layer) / static_cast<double>(a.layers)) {}
  double fraction(int64_t c) const { return width > 1 ? static_cast<double>(c) / (width - 1) : 0; }
  double mix(int64_t part, int64_t c) const {
    const double power = part >= 3 ? shallow / 2 : shallow;  // r and g
    return 1 - std::pow(static_cast<double>(c) / width, power) - (part == 2 ? 0.3 * deep : 0);
  }
  double decay(int64_t c) const { return -6 + 5 * std::pow(fraction(c), 0.7 + 1.3 * deep); }
  double bonus(int64_t c) const { return deep * (1 - fraction(c)) + 0.1 * static_cast<double>((c + 1) % 3 - 1); }
};

class Rwkv6 final : public Layer {
 public:
  using Options = Rwkv6Options;

  Rwkv6(const Options& o, const LayerArgs& args, const Scope& s)
      : width_(args.d_model),
        heads_(std::max<int64_t>(1, width_ / o.head_dim)),
        mix_x_(&s.param("mix_x", {width_}, ramp([r = Ramps(args)](int64_t, int64_t c) { return r.mix(0, c); }), kOwn)),
        mix_(&s.param("mix", {kParts, width_},
                      ramp([r = Ramps(args)](int64_t part, int64_t c) { return r.mix(part, c); }), kOwn)),
        mix_down_(&s.param("mix_down.weight", {kParts * o.shift_rank, width_}, Init::zeros(),
                           dense_of(std::vector(kParts, o.shift_rank)))),
        mix_up_(&s.param("mix_up.weight", {kParts * width_, o.shift_rank}, Init::uniform(0.01),
                         {.decay = false, .matrices = std::vector(kParts, width_)})),
        decay_base_(&s.param("decay_base", {width_}, ramp([r = Ramps(args)](int64_t, int64_t c) { return r.decay(c); }),
                             {.decay = false, .lr_scale = 2})),
        decay_down_(&s.param("decay_down.weight", {o.decay_rank, width_}, Init::zeros(), dense_of({o.decay_rank}))),
        decay_up_(&s.param("decay_up.weight", {width_, o.decay_rank}, Init::uniform(0.01), dense_of({width_}))),
        bonus_(&s.param("bonus", {width_}, ramp([r = Ramps(args)](int64_t, int64_t c) { return r.bonus(c); }), kOwn)),
        norm_weight_(&s.param(
            "group_norm.weight", {width_},
            Init::constant(std::pow(static_cast<double>(1 + args.layer) / static_cast<double>(args.layers), 0.7)),
            kOwn)),
        norm_bias_(&s.param("group_norm.bias", {width_}, Init::zeros(), kOwn)),
        r_(s / "r", width_, width_, orthogonal(1)),
        k_(s / "k", width_, width_, orthogonal(0.1)),
        v_(s / "v", width_, width_, orthogonal(1)),
        g_(s / "g", width_, width_, orthogonal(0.1)),
        out_(s / "out", width_, width_, Init::zeros(), Role::residual) {
    if (heads_ * o.head_dim != width_)
      throw_at(o.mark, fmt::format("rwkv6: head_dim {} does not divide the model width {}", o.head_dim, width_));
  }

  void declare(Site& site) const override {
    site.field("s", {heads_, width_ / heads_, width_ / heads_});
    site.field("shift", {1, width_});
  }

 protected:
  Tensor run(const Tensor& x, const Call& call) const override {
    const Tensor segments = call.segments(), before = call.read("shift");
    auto [shifted, last] = token_mix(x, before, segments, mix_x_->value);
    const Tensor low = pointwise(Pointwise::tanh, dense(shifted, *mix_down_));
    const Tensor m = block_linear(low, mix_up_->value, {}, {.blocks = kParts});
    const auto in =
        split_columns(token_mix(x, before, segments, mix_->value, m).y, {width_, width_, width_, width_, width_});
    const Tensor log_log =
        dense(pointwise(Pointwise::tanh, dense(in[0], *decay_down_)), *decay_up_, decay_base_->value);
    const Tensor log_decay = scale(pointwise(Pointwise::exp, log_log), -1);
    const Tensor k = k_(in[1]), v = v_(in[2]), r = r_(in[3]), g = g_(in[4]);
    const GlaOptions options{.heads = heads_, .decay = Decay::key, .exclusive = true, .chunk = call.pass().chunk};
    auto [o, after] = effllm::gla(r, k, v, log_decay, call.read("s"), segments, options);
    call.write("s", after);
    call.write("shift", last);
    const Tensor y = layer_norm(add_bonus(o, r, k, v, bonus_->value, heads_), norm_weight_->value, norm_bias_->value,
                                kNormEps, heads_);
    return out_(multiply(y, silu(g)));
  }

 private:
  static constexpr Traits kOwn{.decay = false};
  static Traits dense_of(std::vector<int64_t> matrices) {
    return {.decay = false, .dense = true, .matrices = std::move(matrices)};
  }
  template <class F>
  static Init ramp(F f) {
    return Init::mapped([f](double, int64_t row, int64_t column) { return f(row, column); });
  }
  // Of the spread that an orthogonal matrix with this gain has.
  Init orthogonal(double gain) const { return Init::normal(gain / std::sqrt(static_cast<double>(width_))); }
  static Tensor dense(const Tensor& x, const Parameter& weight, const Tensor& bias = {}) {
    return linear(x, weight.value, bias, weight.transposed);
  }

  int64_t width_, heads_;
  Parameter *mix_x_, *mix_, *mix_down_, *mix_up_, *decay_base_, *decay_down_, *decay_up_, *bonus_, *norm_weight_,
      *norm_bias_;
  Linear r_, k_, v_, g_, out_;
};

constexpr std::string_view kVariants[] = {"{head_dim: 8, shift_rank: 1}"};

}  // namespace

extern constinit const LayerInfo rwkv6 = LayerInfo::of<Rwkv6>({
    .name = "rwkv6",
    .title = "RWKV-6 (Finch)",
    .family = "linear attention",
    .recurrence = "gla",
    .paper = "Peng et al. 2024, arXiv:2404.05892",
    .source = "BlinkDL/RWKV-LM@524481d, RWKV-v5/src/model.py: x060",
    .deviations = "matrices that RWKV-LM starts orthogonal start normal with the same spread; its small uniform "
                  "embedding, the norm behind it and its loss on large logits are the model's; computed by a "
                  "time-tiled recurrence; decay_base learns twice as fast and adapters do not decay, as there",
    .tiny = "{head_dim: 4, shift_rank: 3, decay_rank: 2}",
    .variants = kVariants,
});

}  // namespace effllm::mixers
