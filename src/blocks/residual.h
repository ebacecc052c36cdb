// x += dropout(mixer(norm(x))); x += dropout(ffn(norm(x))): the pre-norm residual block (Xiong et al. 2020), with norms
// elsewhere and all parts of one input as options. In a decoder x += dropout(cross(norm(x), memory)) stands between.
#pragma once
#include "cross/cross.h"
#include "ffn/ffn.h"
#include "mixers/mixer.h"
#include "nn/norm.h"

namespace effllm {

struct ResidualOptions : Options {
  Choice<LayerInfo> mixer{all_mixers}, cross{all_crosses, kOrNone}, ffn{all_ffns, kOrNone};
  NormOptions norm;
  std::string norm_at = "before";
  bool parallel = false;
  std::optional<double> dropout;
  void visit(OptionVisitor& v) override;
};

class Residual : public Layer {
 public:
  using Options = ResidualOptions;
  // Parameters and places "mixer", "cross", "ffn", with their norms.
  Residual(const Options& o, LayerArgs args, const Scope& scope);
  void declare(Site& site) const override;
  bool counts_tokens() const override { return true; }
  int64_t sequences_together() const override;
  bool trains_otherwise() const override;
  LongText long_text(int64_t trained) const override;
  void remember(const Memory& memory, const Call& call) const override;

 protected:
  std::string_view output_name() const override { return "residual"; }
  Tensor run(const Tensor& x, const Call& call) const override;
  // What is added to the stream x; undefined where there is no such part.
  struct Added {
    Tensor of_mixer, of_cross, before_ffn, of_ffn;  // before_ffn = x + of_mixer + of_cross
  };
  Added added(const Tensor& x, const Call& call) const;
  // What one part gives for an input of its own, with its norms and dropout.
  Tensor of_mixer(const Tensor& in, const Call& call) const { return mixer_.run(in, dropout_, call.child("mixer")); }
  Tensor of_ffn(const Tensor& in, const Call& call) const { return ffn_.run(in, dropout_, call.child("ffn")); }
  bool has_ffn() const { return static_cast<bool>(ffn_.layer); }
  // x with all of it, each token's times its own number `by` [B, T, 1], or 1 where that is undefined.
  static Tensor with(const Tensor& x, const Added& a, const Tensor& by = {});

 private:
  // A layer with the norms around it.
  struct Branch {
    std::unique_ptr<Norm> before, after;
    std::unique_ptr<Layer> layer;
    Tensor run(const Tensor& x, double dropout, const Call& call) const;
  };
  bool parallel_;
  double dropout_;
  Branch mixer_, cross_, ffn_;
};

}  // namespace effllm
