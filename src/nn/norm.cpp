#include "nn/norm.h"

#include "ops/norm.h"

namespace effllm {

void NormOptions::visit(OptionVisitor& v) {
  v("type", type, "Chooses the norm: by the root mean square, or by mean and variance.", {"rms_norm", "layer_norm"});
  v("eps", eps, "Is added under the root.", between(0, 1));
  v("weight", weight, "Multiplies by a learned weight.");
  v("bias", bias, "Adds a learned offset (layer_norm only).");
}

Norm::Norm(const NormOptions& o, const Scope& s, int64_t width)
    : layer_(o.type == "layer_norm"),
      eps_(o.eps),
      weight_(o.weight ? &s.param("weight", {width}, Init::ones(), {.decay = false}) : nullptr),
      bias_(layer_ && o.bias ? &s.param("bias", {width}, Init::zeros(), {.decay = false}) : nullptr) {
  if (o.bias && !layer_) throw_at(o.mark, "rms_norm has no bias; take `type: layer_norm`, or leave `bias` out");
}

Tensor Norm::operator()(const Tensor& x) const {
  const Tensor weight = weight_ ? weight_->value : Tensor();
  if (layer_) return layer_norm(x, weight, bias_ ? bias_->value : Tensor(), eps_);
  return weight_ ? rms_norm(x, weight, eps_) : rms_norm(x, x.cols(), eps_);
}

RmsNorm::RmsNorm(const Scope& s, int64_t width, double eps)
    : eps_(eps), weight_(&s.param("weight", {width}, Init::ones(), {.decay = false})) {}

Tensor RmsNorm::operator()(const Tensor& x) const { return rms_norm(x, weight_->value, eps_); }

}  // namespace effllm
