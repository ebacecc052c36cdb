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

#include "mixers/delta/delta_rule.h"

namespace effllm::mixers {
namespace {

constexpr double kNormEps = 1e-5;

// exp(a_log) uniform in (0, 16).
double start_of_a_log(double u, int64_t, int64_t) { return std::log(16 * std::max(u, 1e-9)); }
// softplus(dt_bias) log-uniform in [0.001, 0.1].
double start_of_dt_bias(double u, int64_t, int64_t) {
  const double dt = 0.001 * std::pow(100.0, u);
  return std::log(std::expm1(dt));
}

struct GatedDeltaOptions final : DeltaRuleOptions {
  GatedDeltaOptions() { expand_k = 0.75, expand_v = 1.5; }
  void visit(OptionVisitor& v) override {
    DeltaRuleOptions::visit(v);
    augment.visit(v);
  }
};

class GatedDelta final : public DeltaRule {
 public:
  using Options = GatedDeltaOptions;

  GatedDelta(const Options& o, const LayerArgs& args, const Scope& s)
      : DeltaRule(o, "gated_delta", args, s, kNormEps),
        qkvg_(s / "qkvg", args.d_model, {keys_, keys_, values_, values_}, Init::torch_linear(args.d_model)),
        gates_(s / "gates", args.d_model, {heads_, heads_}, Init::torch_linear(args.d_model)),
        out_(s / "out", values_, args.d_model, Init::torch_linear(values_), Role::residual),
        a_log_(&s.param("a_log", {heads_}, Init::mapped(start_of_a_log), {.decay = false})),
        dt_bias_(&s.param("dt_bias", {heads_}, Init::mapped(start_of_dt_bias), {.decay = false})) {}

 protected:
  Tensor run(const Tensor& x, const Call& call) const override {
    const auto gates = split_columns(gates_(x), {heads_, heads_});
    const Tensor dt = pointwise(Pointwise::softplus, affine_columns(gates[1], {}, dt_bias_->value));
    const Tensor log_decay = affine_columns(dt, scale(pointwise(Pointwise::exp, a_log_->value), -1));
    const auto qkv_g = split_columns(qkvg_(x), {2 * keys_ + values_, values_});
    return out_(multiply(read(qkv_g[0], gates[0], log_decay, call), silu(qkv_g[1])));
  }

 private:
  Linear qkvg_, gates_, out_;
  Parameter *a_log_, *dt_bias_;
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
