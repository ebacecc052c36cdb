// Multi-head latent attention: keys and values of all heads come from one narrow vector per token, and only that vector
// and one rotated key are remembered.
//
//   c_t = rms_norm(W_dkv x_t) [r_kv],  kr_t = rope(W_kr x_t) [r], shared by the heads
//   k_t^h = [W_uk^h c_t; kr_t],  v_t^h = W_uv^h c_t
//   q_t^h = [q_nope; rope(q_rope)] of W_q x_t, or of W_uq rms_norm(W_dq x_t)
//   o_t^h = sum_j softmax_j(q_t^h . k_j^h / sqrt(n + r)) v_j^h,   y = W_o o
//
// Few new tokens after a state are computed in the absorbed form, which never decompresses what is cached: q_nope .
// W_uk c = (W_uk^T q_nope) . c, and W_uv is applied to the weighted sum of the c. Remembers [c; kr] of every token,
// r_kv + r numbers. DeepSeek-AI 2024, arXiv:2405.04434.
#include <algorithm>
#include <cmath>

#include "autodiff/tape.h"
#include "mixers/attention/kv_cache.h"
#include "mixers/mixer.h"
#include "nn/linear.h"
#include "nn/norm.h"
#include "ops/block_linear.h"
#include "ops/columns.h"
#include "ops/latent_heads.h"
#include "ops/rotary.h"

namespace effllm::mixers {
namespace {

constexpr double kNormEps = 1e-6;
constexpr double kInitStd = 0.006;

struct MlaOptions final : Options {
  int64_t heads = 4, q_rank = 0;
  std::optional<int64_t> kv_rank, nope_dim, rope_dim, v_dim;
  double rope_theta = 10000;
  void visit(OptionVisitor& v) override {
    v("heads", heads, "Sets the number of heads.", between(1, 1024));
    v("q_rank", q_rank, "Sets the width of a latent vector for the queries; with 0 they come from x.",
      between(0, 65536));
    v("kv_rank", kv_rank, "Sets the width of the latent vector of keys and values; default: d_model / 2.",
      between(1, 65536));
    v("nope_dim", nope_dim, "Sets the columns of a head's key without position; default: d_model / heads.",
      between(1, 4096));
    v("rope_dim", rope_dim,
      "Sets the columns of the rotated key that heads share, an even number; default: nope_dim / 2.", between(2, 4096));
    v("v_dim", v_dim, "Sets the columns of a head's value; default: d_model / heads.", between(1, 4096));
    v("rope_theta", rope_theta, "Sets the base of the rotary frequencies.", at_least(1));
  }
};

class Mla final : public Layer {
 public:
  using Options = MlaOptions;

  Mla(const Options& o, const LayerArgs& args, const Scope& s)
      : heads_(o.heads),
        latent_(o.kv_rank.value_or(std::max<int64_t>(1, args.d_model / 2))),
        nope_(o.nope_dim.value_or(std::max<int64_t>(1, args.d_model / o.heads))),
        turned_(o.rope_dim.value_or(nope_ / 2)),
        value_(o.v_dim.value_or(std::max<int64_t>(1, args.d_model / o.heads))),
        kv_down_(s / "kv_down", args.d_model, {latent_, turned_}, Init::normal(kInitStd)),
        kv_up_(s / "kv_up", latent_, heads_ * (nope_ + value_), Init::normal(kInitStd)),
        out_(s / "out", heads_ * value_, args.d_model, Init::normal(kInitStd), Role::residual),
        kv_norm_(s / "kv_norm", latent_, kNormEps),
        cache_(0, 0, latent_ + turned_, 0, "latent") {
    Diagnostics found;
    if (args.d_model % heads_ && !(o.nope_dim && o.v_dim))
      found.error(o.mark,
                  fmt::format("mla: {} heads don't divide d_model {}; give nope_dim and v_dim", heads_, args.d_model));
    if (turned_ < 2 || turned_ % 2)
      found.error(o.mark, fmt::format("mla: rope turns pairs; give an even rope_dim instead of {}", turned_));
    found.throw_if_any();
    const int64_t queries = heads_ * (nope_ + turned_);
    if (o.q_rank > 0) {
      q_down_ = std::make_unique<Linear>(s / "q_down", args.d_model, o.q_rank, Init::normal(kInitStd));
      q_norm_ = std::make_unique<RmsNorm>(s / "q_norm", o.q_rank, kNormEps);
    }
    q_ = std::make_unique<Linear>(s / (q_down_ ? "q_up" : "q"), q_down_ ? o.q_rank : args.d_model, queries,
                                  Init::normal(kInitStd));
    rope_ = std::make_shared<RotaryTable>(turned_, o.rope_theta, args.max_tokens);
  }

  void declare(Site& site) const override { cache_.declare(site); }
  LongText long_text(int64_t) const override { return {.unseen = true, .reach = true}; }

 protected:
  Tensor run(const Tensor& x, const Call& call) const override {
    const Tensor positions = call.positions(x);
    const Tensor q = rotary((*q_)(q_down_ ? (*q_norm_)((*q_down_)(x)) : x), positions, heads_, rope_, nope_);
    const auto down = split_columns(kv_down_(x), {latent_, turned_});
    const Tensor c = kv_norm_(down[0]), turned = rotary(down[1], positions, 1, rope_);
    AttentionPlaces places;
    places.segments = call.segments();
    if (!call.has_state()) return plain(q, c, turned, places, call);

    const bool absorb = absorbing_pays(x.dim(1)) && !Tape::recording(), alone = !absorb && saw_nothing(call.seen());
    const CachedKeys all =
        cache_.within(call.pass().reach, 0).extend(join_columns(c, turned), {}, call, !absorb && !alone);
    if (absorb) return absorbed(q, all, call);
    if (alone) return plain(q, c, turned, places, call);
    const auto parts = split_columns(all.k, {latent_, turned_});
    return plain(q, parts[0], parts[1], all.places, call);
  }

 private:
  // Decompressing S cached vectors costs S r_kv (n + v) H products, the wider scores of the absorbed form (2 r_kv - n -
  // v) H for each pair of T new tokens and S cached ones.
  bool absorbing_pays(int64_t tokens) const {
    return tokens * (2 * latent_ - nope_ - value_) <= latent_ * (nope_ + value_);
  }
  static bool saw_nothing(const Tensor& seen) {
    if (MetaMode::on()) return false;
    const int64_t* counts = seen.data<int64_t>();
    return std::all_of(counts, counts + seen.numel(), [](int64_t n) { return n == 0; });
  }

  Tensor plain(const Tensor& q, const Tensor& c, const Tensor& turned, const AttentionPlaces& places,
               const Call& call) const {
    const auto [k, v] = latent_heads(kv_up_(c), turned, heads_, nope_);
    AttentionPlaces own = places;
    const AttentionOptions o = options(heads_, call, own);
    return out_(effllm::attention(q, k, v, o, own));
  }

  Tensor absorbed(const Tensor& q, const CachedKeys& all, const Call& call) const {
    const Tensor wide = block_linear(q, kv_up_.weight->value, {},
                                     {.blocks = heads_, .rows = nope_, .transposed = true, .carry = turned_});
    const Tensor c = split_columns(all.k, {latent_, turned_})[0];
    AttentionPlaces places = all.places;
    const AttentionOptions o = options(1, call, places);
    const Tensor sums = effllm::attention(wide, all.k, c, o, places);
    return out_(block_linear(sums, kv_up_.weight->value, {}, {.blocks = heads_, .first = nope_, .rows = value_}));
  }

  AttentionOptions options(int64_t kv_heads, const Call& call, AttentionPlaces& places) const {
    AttentionOptions o{.heads = heads_, .kv_heads = kv_heads};
    follow_direction("mla", call, o, places);
    o.scale = 1 / std::sqrt(static_cast<double>(nope_ + turned_));
    o.window = call.pass().reach;
    if (call.pass().chunk > 0) o.chunk = call.pass().chunk;
    return o;
  }

  int64_t heads_, latent_, nope_, turned_, value_;
  Linear kv_down_, kv_up_, out_;
  RmsNorm kv_norm_;
  KvCache cache_;
  std::unique_ptr<Linear> q_down_, q_;
  std::unique_ptr<RmsNorm> q_norm_;
  std::shared_ptr<const RotaryTable> rope_;
};

constexpr std::string_view kVariants[] = {"{q_rank: 5, kv_rank: 7, nope_dim: 3, rope_dim: 4, v_dim: 5}",
                                          "{heads: 4, kv_rank: 2, rope_theta: 100, rope_dim: 2}",
                                          "{kv_rank: 16, nope_dim: 2, rope_dim: 2, v_dim: 2}"};

}  // namespace

extern constinit const LayerInfo mla = LayerInfo::of<Mla>({
    .name = "mla",
    .title = "Multi-head latent attention",
    .family = "attention",
    .recurrence = "attention",
    .paper = "DeepSeek-AI 2024, arXiv:2405.04434",
    .source = "deepseek-ai/DeepSeek-V3@9b4e978, inference/model.py; the start from the paper",
    .deviations = "RoPE turns pairs (i, i + r/2) where the authors' code turns neighbours; no YaRN; c and the rotated "
                  "key come from one matrix, as there; the absorbed form is chosen by its cost, and never while "
                  "gradients are recorded",
    .both_sides = true,
    .prefix_and_blocks = true,
    .unseen = "RoPE's distances and the number of keys",
    .tiny = "{heads: 2}",
    .variants = kVariants,
});

}  // namespace effllm::mixers
