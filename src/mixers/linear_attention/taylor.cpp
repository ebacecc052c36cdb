// Taylor linear attention, the global half of Based: few query and key channels, whose features' product is the second-
// order Taylor polynomial of softmax's exponential.
//
//   S_t = S_{t-1} + phi(k_t) v_t^T,   z_t = z_{t-1} + phi(k_t),   phi(q).phi(k) = 1 + q.k / sqrt f + (q.k)^2 / (2 f)
//   y_t = W_o (S_t^T phi(q_t) / (z_t . phi(q_t) + 1e-12))
//
// Remembers S, [H, F, dv], and z, [H, F], per sequence, F = 1 + f + f (f + 1) / 2. Arora et al. 2024, arXiv:2402.18668.
#include "cores/gla/gla.h"
#include "cores/gla/normaliser.h"
#include "mixers/mixer.h"
#include "nn/augment.h"
#include "nn/linear.h"
#include "ops/columns.h"
#include "ops/taylor_features.h"

namespace effllm::mixers {
namespace {

constexpr double kSumEps = 1e-12;

struct TaylorOptions final : Options {
  int64_t heads = 4, feature_dim = 16;
  AugmentOptions augment;
  void visit(OptionVisitor& v) override {
    v("heads", heads, "Sets the number of heads; they share out the value width.", between(1, 1024));
    v("feature_dim", feature_dim,
      "Sets the query and key channels f of a head; the state has 1 + f + f (f + 1) / 2 rows.", between(1, 128));
    augment.visit(v);
  }
};

class Taylor final : public Layer {
 public:
  using Options = TaylorOptions;

  Taylor(const Options& o, const LayerArgs& args, const Scope& s)
      : heads_(o.heads),
        width_(args.d_model),
        channels_(o.heads * o.feature_dim),
        features_(taylor_width(o.feature_dim)),
        qkv_(s / "qkv", width_, {channels_, channels_, width_}, Init::gpt2()),
        out_(s / "out", width_, width_, Init::gpt2_residual(args.layers), Role::residual),
        augment_(o.augment, s, heads_, width_) {
    if (width_ % heads_) throw_at(o.mark, fmt::format("taylor: {} heads don't divide width {}", heads_, width_));
  }

  void declare(Site& site) const override {
    site.field("s", {heads_, features_, width_ / heads_});
    site.field("z", {heads_, features_});
    augment_.declare(site);
  }
  LongText long_text(int64_t) const override { return {.unseen = true, .anew = true}; }

 protected:
  Tensor run(const Tensor& x, const Call& call) const override {
    const Tensor segments = call.segments();
    const auto qk_v = split_columns(qkv_(x), {2 * channels_, width_});
    const auto qk = split_columns(taylor_features(qk_v[0], 2 * heads_), {heads_ * features_, heads_ * features_});
    const GlaOptions options{.heads = heads_, .decay = Decay::none, .chunk = call.pass().chunk};
    auto [o, after] = effllm::gla(qk[0], qk[1], qk_v[1], {}, call.read("s"), segments, options);
    auto [y, z] = normalise_by_keys(o, qk[0], qk[1], call.read("z"), segments, heads_, kSumEps);
    call.write("s", after);
    call.write("z", z);
    return out_(augment_(y, qk_v[1], call));
  }

 private:
  int64_t heads_, width_, channels_, features_;
  Linear qkv_, out_;
  Augment augment_;
};

constexpr std::string_view kVariants[] = {"{heads: 1, feature_dim: 1}", "{augment: dwconv, augment_taps: 4}"};

}  // namespace

extern constinit const LayerInfo taylor = LayerInfo::of<Taylor>({
    .name = "taylor",
    .title = "Taylor linear attention (Based)",
    .family = "linear attention",
    .recurrence = "gla",
    .paper = "Arora et al. 2024, arXiv:2402.18668",
    .source = "HazyResearch/based@32c1bd4, models/mixers/linear_attention.py and models/gpt.py",
    .deviations = "the paper's model interleaves it with sliding-window attention and gated convolutions: layers of "
                  "their own here; equal products of features are stored once; computed by a time-tiled recurrence at "
                  "every length; q, k and v are one matrix",
    .unseen = "sums over more tokens, none of which is ever forgotten",
    .tiny = "{heads: 2, feature_dim: 3}",
    .variants = kVariants,
});

}  // namespace effllm::mixers
