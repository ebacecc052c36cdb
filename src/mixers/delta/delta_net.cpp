// DeltaNet: a matrix state that is corrected towards v under each key, instead of adding up.
//
//   q, k = l2_norm(silu(conv(W x))) per head,  v = silu(conv(W_v x)),  beta_t = sigmoid(W_b x_t), one per head
//   S_t = S_{t-1} + beta_t k_t (v_t - S_{t-1}^T k_t)^T,   o_t = S_t^T q_t / sqrt(dk)
//   y_t = W_o rms_norm(o_t), the norm per head
//
// One step of gradient descent on |S^T k - v|^2 / 2 a token. Remembers S, [H, dk, dv] per sequence, and the tail of the
// convolution. Schlag et al. 2021, arXiv:2102.11174; Yang et al. 2024, arXiv:2406.06484, as in the authors' code.
#include "mixers/delta/delta_rule.h"

namespace effllm::mixers {
namespace {

const Init kInit = Init::normal(0.02);

struct DeltaNetOptions final : DeltaRuleOptions {
  double norm_eps = 1e-6;
  void visit(OptionVisitor& v) override {
    DeltaRuleOptions::visit(v);
    visit_norm_eps(v, norm_eps);
    augment.visit(v);
  }
};

class DeltaNet final : public DeltaRule {
 public:
  using Options = DeltaNetOptions;

  DeltaNet(const Options& o, const LayerArgs& args, const Scope& s)
      : DeltaRule(o, "delta_net", args, s, o.norm_eps, kInit),
        qkv_(s / "qkv", args.d_model, {keys_, keys_, values_}, kInit),
        beta_(s / "beta", args.d_model, heads_, kInit),
        out_(s / "out", values_, args.d_model, kInit, Role::residual) {}

  LongText long_text(int64_t) const override { return {.unseen = true, .anew = true}; }

 protected:
  Tensor run(const Tensor& x, const Call& call) const override {
    const Tensor qkv = qkv_(x);
    return out_(read(qkv, beta_(x), {}, call));
  }

 private:
  Linear qkv_, beta_, out_;
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
