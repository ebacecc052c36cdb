// Attention over tokens that are parameters, in the place of a dense layer: as many more of them as are wanted can be
// added to a model that is trained, which it then goes on from (`effllm grow`).
//
//   y = V^T Theta(K x)
//
// with Theta one of the nonlinearities below, m the number of tokens, or what it was before the model grew. Wang et al.
// 2024, arXiv:2410.23168.
#include "projections/pattention.h"

#include <fmt/format.h>

#include <cmath>

#include "ops/arithmetic.h"
#include "ops/norm.h"
#include "ops/pointwise.h"
#include "ops/softmax.h"
#include "projections/projection.h"

namespace effllm {
namespace {

// Norms have none in the authors' code: a token whose scores are all zero is not a number there.
constexpr double kNormEps = 1e-12;
constexpr double kMostParameterTokens = 1 << 24;

}  // namespace

void PattentionOptions::visit(OptionVisitor& v) {
  v("tokens", tokens,
    usual_tokens() == 1 ? "Sets the number n of pairs of a key and a value; default: d_model."
                        : "Sets the number n of pairs of a key and a value; default: 4 d_model.",
    between(1, kMostParameterTokens));
  v("nonlinearity", nonlinearity,
    "Chooses what scores a become, with m = scale_tokens: l2_norm_gelu = gelu(sqrt(m) a / |a|), gelu_l2_norm = sqrt(m) "
    "gelu(a) / |gelu(a)|, scaled_gelu = gelu(a) / sqrt(m), scaled_softmax = m softmax(a), or gelu and softmax alone.",
    {"l2_norm_gelu", "gelu_l2_norm", "scaled_gelu", "gelu", "scaled_softmax", "softmax"});
  v("scale_tokens", scale_tokens,
    "Keeps the number of tokens m that sets the scale, for those added later to change nothing; default: n.",
    between(1, kMostParameterTokens));
  v("norm_eps", norm_eps, "Sets what is added under the root of the norm; default: 1e-12.", between(0, 1));
}

bool PattentionOptions::has_norm() const { return nonlinearity.find("l2_norm") != nonlinearity.npos; }
bool PattentionOptions::has_scale() const { return nonlinearity != "gelu" && nonlinearity != "softmax"; }
bool PattentionOptions::ignores_zeros() const { return !nonlinearity.ends_with("softmax"); }

Pattention::Pattention(const PattentionOptions& o, int64_t in, int64_t out, const LayerArgs& args, const Scope& s,
                       Role role)
    : tokens_(o.count(args.d_model)),
      eps_(o.norm_eps.value_or(kNormEps)),
      keys_(s / "keys", in, tokens_, Init::normal(0.02)),
      values_(s / "values", tokens_, out,
              Init::normal(2 / (static_cast<double>(args.layers) * std::sqrt(static_cast<double>(args.d_model)))),
              role) {
  Diagnostics found;
  if (o.scale_tokens && !o.has_scale())
    found.error(o.mark, fmt::format("pattention: scale_tokens does nothing with `nonlinearity: {}`", o.nonlinearity));
  if (o.norm_eps && !o.has_norm())
    found.error(o.mark, fmt::format("pattention: norm_eps does nothing with `nonlinearity: {}`", o.nonlinearity));
  found.throw_if_any();
  const auto m = static_cast<double>(o.scale_tokens.value_or(tokens_));
  theta_ = o.nonlinearity == "l2_norm_gelu"   ? Theta::l2_norm_gelu
           : o.nonlinearity == "gelu_l2_norm" ? Theta::gelu_l2_norm
           : o.ignores_zeros()                ? Theta::gelu
                                              : Theta::softmax;
  length_ = std::sqrt(m);
  factor_ = o.nonlinearity == "scaled_gelu" ? 1 / std::sqrt(m) : o.nonlinearity == "scaled_softmax" ? m : 1;
}

Tensor Pattention::operator()(const Tensor& x) const {
  const auto theta = [this](const Tensor& a) {
    if (theta_ == Theta::softmax) return softmax(a);
    const Tensor bent =
        pointwise(Pointwise::gelu, theta_ == Theta::l2_norm_gelu ? l2_norm(a, tokens_, eps_, length_) : a);
    return theta_ == Theta::gelu_l2_norm ? l2_norm(bent, tokens_, eps_, length_) : bent;
  };
  const Tensor y = values_(theta(keys_(x)));
  return factor_ == 1 ? y : scale(y, factor_);
}

namespace projections {
namespace {

class PattentionProjection final : public Projection {
 public:
  using Options = PattentionOptions;
  PattentionProjection(const Options& o, const ProjectionArgs& args, const Scope& s) {
    if (args.bias) throw_at(o.mark, "pattention has no offsets: leave `bias` out");
    for (const auto& [name, width] : args.parts)
      parts_.emplace_back(o, args.in, width, args.layer, args.parts.size() == 1 ? s : s / name, args.role);
  }
  std::vector<Tensor> operator()(const Tensor& x) const override {
    std::vector<Tensor> all;
    for (const Pattention& part : parts_) all.push_back(part(x));
    return all;
  }

 private:
  std::vector<Pattention> parts_;
};

}  // namespace

extern constinit const ProjectionInfo pattention = ProjectionInfo::of<PattentionProjection>({
    .name = "pattention",
    .title = "Attention over tokens that are parameters (TokenFormer)",
    .paper = "Wang et al. 2024, arXiv:2410.23168",
    .source = "Haiyang-W/TokenFormer@4d56c73, megatron/model/tokenformer.py: Pattention",
    .deviations =
        "eps 1e-12 under the root of norms, which have none there; softmax takes its largest score off first; "
        "what is `softmax` there is `scaled_softmax`; all projections of a mixer have as many tokens, as in "
        "the authors' configurations",
});

}  // namespace projections
}  // namespace effllm
