// x += dropout(mixer(norm(x))); x += dropout(ffn(norm(x))): the pre-norm residual block (Xiong et al. 2020).
#pragma once
#include "ffn/ffn.h"
#include "mixers/mixer.h"
#include "nn/norm.h"

namespace effllm {

struct ResidualOptions : Options {
  Choice<LayerInfo> mixer{all_mixers}, ffn{all_ffns, kOrNone};
  NormOptions norm;
  std::optional<double> dropout;
  void visit(OptionVisitor& v) override;
};

class Residual : public Layer {
 public:
  using Options = ResidualOptions;
  // Parameters and places "mixer", "ffn"; a norm before each.
  Residual(const Options& o, LayerArgs args, const Scope& scope);
  void declare(Site& site) const override;
  bool counts_tokens() const override { return true; }
  int64_t sequences_together() const override;
  bool trains_otherwise() const override;
  LongText long_text(int64_t trained) const override;

 protected:
  std::string_view output_name() const override { return "residual"; }
  Tensor run(const Tensor& x, const Call& call) const override;
  // What the mixer and the channel mixer add to the stream x; undefined where there is no channel mixer.
  Tensor of_mixer(const Tensor& x, const Call& call) const;
  Tensor of_ffn(const Tensor& x, const Call& call) const;

 private:
  Tensor branch(const Tensor& x, const Norm& norm, const Layer& layer, const Call& call) const;
  double dropout_;
  std::unique_ptr<Norm> mixer_norm_, ffn_norm_;
  std::unique_ptr<Layer> mixer_, ffn_;
};

}  // namespace effllm
