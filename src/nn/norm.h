// Norms by name, as models choose them.
#pragma once
#include "config/options.h"
#include "nn/param_store.h"

namespace effllm {

struct NormOptions final : Options {
  std::string type = "rms_norm";
  double eps = 1e-5;
  bool weight = true, bias = false;
  void visit(OptionVisitor& v) override;
};

// weight [D], unless the options leave it out, starts at 1, bias [D] at 0; neither decays.
class Norm {
 public:
  Norm(const NormOptions& o, const Scope& s, int64_t width);
  Tensor operator()(const Tensor& x) const;

 private:
  bool layer_;
  double eps_;
  Parameter* weight_;
  Parameter* bias_;
};

// The option `norm_eps` of mixers that end in a norm of their own.
inline void visit_norm_eps(OptionVisitor& v, double& eps) {
  v("norm_eps", eps, "Sets what is added under the root of the norm.", between(0, 1));
}

// RMS norm over the columns of each head (or of all), weight [width].
class RmsNorm {
 public:
  RmsNorm(const Scope& s, int64_t width, double eps);
  Tensor operator()(const Tensor& x) const;

 private:
  double eps_;
  Parameter* weight_;
};

}  // namespace effllm
