// Linear attention: softmax's exponential replaced by a product of features, so that a sum over all keys is a matrix.
//
//   S_t = S_{t-1} + phi(k_t) v_t^T,   z_t = z_{t-1} + phi(k_t),   phi(u) = elu(u) + 1
//   o_t = S_t^T phi(q_t) / (z_t . phi(q_t) + 1e-6), or rms_norm(S_t^T phi(q_t)), the norm per head
//   y_t = W_o o_t
//
// Remembers S, [H, dk, dv], and z, [H, dk], per sequence. Katharopoulos et al. 2020, arXiv:2006.16236; the norm in
// place of the sum is TransNormer's (Qin et al. 2022, arXiv:2210.10340).
#include "cores/gla/gla.h"
#include "cores/gla/normaliser.h"
#include "mixers/mixer.h"
#include "nn/augment.h"
#include "nn/linear.h"
#include "nn/norm.h"
#include "ops/columns.h"
#include "ops/pointwise.h"

namespace effllm::mixers {
namespace {

constexpr double kSumEps = 1e-6, kNormEps = 1e-5;

struct LinearAttentionOptions final : Options {
  int64_t heads = 4;
  bool normalize = true;
  AugmentOptions augment;
  void visit(OptionVisitor& v) override {
    v("heads", heads, "Sets the number of heads; they share out the model width.", between(1, 1024));
    v("normalize", normalize, "Divides by the sum of the weights; false puts an RMS norm on each head instead.");
    augment.visit(v);
  }
};

class LinearAttention final : public Layer {
 public:
  using Options = LinearAttentionOptions;

  LinearAttention(const Options& o, const LayerArgs& args, const Scope& s)
      : heads_(o.heads),
        width_(args.d_model),
        qkv_(s / "qkv", width_, {width_, width_, width_}, Init::torch_linear(width_)),
        out_(s / "out", width_, width_, Init::torch_linear(width_), Role::residual),
        augment_(o.augment, s, heads_, width_) {
    if (width_ % heads_)
      throw_at(o.mark, fmt::format("linear_attention: {} heads don't divide width {}", heads_, width_));
    if (!o.normalize) norm_ = std::make_unique<RmsNorm>(s / "norm", width_ / heads_, kNormEps);
  }

  void declare(Site& site) const override {
    const int64_t n = width_ / heads_;
    site.field("s", {heads_, n, n});
    if (!norm_) site.field("z", {heads_, n});
    augment_.declare(site);
  }
  LongText long_text(int64_t) const override { return {.unseen = true, .anew = true}; }

 protected:
  Tensor run(const Tensor& x, const Call& call) const override {
    const Tensor segments = call.segments();
    const auto qk_v = split_columns(qkv_(x), {2 * width_, width_});
    const auto qk = split_columns(pointwise(Pointwise::elu1, qk_v[0]), {width_, width_});
    const GlaOptions options{.heads = heads_, .decay = Decay::none, .chunk = call.pass().chunk};
    auto [o, after] = effllm::gla(qk[0], qk[1], qk_v[1], {}, call.read("s"), segments, options);
    call.write("s", after);
    if (norm_) return out_((*norm_)(augment_(o, qk_v[1], call)));
    auto [y, z] = normalise_by_keys(o, qk[0], qk[1], call.read("z"), segments, heads_, kSumEps);
    call.write("z", z);
    return out_(augment_(y, qk_v[1], call));
  }

 private:
  int64_t heads_, width_;
  Linear qkv_, out_;
  Augment augment_;
  std::unique_ptr<RmsNorm> norm_;
};

constexpr std::string_view kVariants[] = {"{normalize: false}", "{heads: 1}", "{augment: dwconv, augment_taps: 4}"};

}  // namespace

extern constinit const LayerInfo linear_attention = LayerInfo::of<LinearAttention>({
    .name = "linear_attention",
    .title = "Linear attention",
    .family = "linear attention",
    .recurrence = "gla",
    .paper = "Katharopoulos et al. 2020, arXiv:2006.16236",
    .source = "idiap/fast-transformers@2ad36b9, attention/causal_linear_attention.py and attention_layer.py",
    .deviations = "computed by a time-tiled recurrence at every length; q, k and v are one matrix; no biases; "
                  "`normalize: false` is TransNormer's norm with a learned weight",
    .unseen = "sums over more tokens, none of which is ever forgotten",
    .tiny = "{heads: 2}",
    .variants = kVariants,
});

}  // namespace effllm::mixers
