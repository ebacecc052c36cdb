// The channel mixer of TokenFormer: attention over tokens that are parameters.
//
//   y = V^T Theta(K x)
//
// Remembers nothing. Wang et al. 2024, arXiv:2410.23168.
#include "projections/pattention.h"

#include "ffn/ffn.h"

namespace effllm::ffns {
namespace {

struct PattentionFfnOptions final : PattentionOptions {
  int64_t usual_tokens() const override { return 4; }
};

class PattentionFfn final : public Layer {
 public:
  using Options = PattentionFfnOptions;
  PattentionFfn(const Options& o, const LayerArgs& args, const Scope& s)
      : pattention_(o, args.d_model, args.d_model, args, s, Role::residual) {}

 protected:
  Tensor run(const Tensor& x, const Call&) const override { return pattention_(x); }

 private:
  Pattention pattention_;
};

constexpr std::string_view kVariants[] = {
    "{scale_tokens: 6}",    "{nonlinearity: gelu_l2_norm}",   "{nonlinearity: scaled_gelu}",
    "{nonlinearity: gelu}", "{nonlinearity: scaled_softmax}", "{nonlinearity: softmax}"};

}  // namespace

extern constinit const LayerInfo pattention = LayerInfo::of<PattentionFfn>({
    .name = "pattention",
    .title = "Attention over tokens that are parameters (TokenFormer)",
    .family = "channel mixer",
    .recurrence = "none",
    .paper = "Wang et al. 2024, arXiv:2410.23168",
    .source = "Haiyang-W/TokenFormer@4d56c73, megatron/model/tokenformer.py: Pattention",
    .deviations =
        "eps 1e-12 under the root of norms, which have none there; softmax takes its largest score off first; "
        "what is `softmax` there is `scaled_softmax`",
    .prefix_and_blocks = true,
    .tiny = "{tokens: 9}",
    .variants = kVariants,
});

}  // namespace effllm::ffns
