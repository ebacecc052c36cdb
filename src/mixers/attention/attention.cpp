// Softmax attention: every token reads all others, those before it, or a window of them.
//
//   q, k, v = W x, heads of width dh; with qk_norm: q, k = rms_norm(q), rms_norm(k) per head
//   RoPE turns q and k, or the first columns of their heads, by their positions, or ALiBi takes slope * distance from
//   the scores o_i = sum_j softmax_j(q_i . k_j / sqrt(dh)) v_j,   y = W_o o
//
// kv_heads = heads is multi-head attention, 1 multi-query (Shazeer 2019, arXiv:1911.02150), between them grouped-query
// (Ainslie et al. 2023, arXiv:2305.13245). A window (Beltagy et al. 2020, arXiv:2004.05150) may have sinks: the first
// tokens stay visible at their own positions (Xiao et al. 2023, arXiv:2309.17453, re-index them instead).
// With value_residual v is l v_1 + (1 - l) v, v_1 that of the model's first layer that has this option, which keeps its
// own (Zhou et al. 2024, arXiv:2410.17897, ResFormer). With value_embedding it is v + 3 sigmoid(W_g x) E[id]: a vector
// of the token, as much as a gate of each head says (Karpathy, nanochat; Jordan et al., modded-nanogpt).
// Where a block lends keys (LayerArgs::lends_keys), later uses make q alone and read k and v of the first.
// Remembers k and v of every token, or of the sinks and the window. Vaswani et al. 2017, arXiv:1706.03762.
#include "mixers/attention/kv_cache.h"
#include "mixers/attention/value_embedding.h"
#include "mixers/mixer.h"
#include "nn/heads.h"
#include "nn/norm.h"
#include "ops/arithmetic.h"
#include "ops/rotary.h"
#include "projections/projection.h"

namespace effllm::mixers {
namespace {

constexpr std::string_view kValues = "values";  // on the shelf, of the first layer

struct AttentionMixerOptions final : HeadOptions {
  int64_t window = 0, sinks = 0;
  std::string position = "rope";
  double rope_theta = 10000, rope_share = 1;
  Choice<ProjectionInfo> projection{all_projections, kDefaultProjection};
  std::optional<double> value_residual;
  std::optional<int64_t> value_embedding;
  void visit(OptionVisitor& v) override {
    visit_heads(v);
    v("position", position, "Says how order is known; learned positions are an option of the model.",
      {"rope", "alibi", "none"});
    v("rope_theta", rope_theta, "Sets the base of the rotary frequencies.", at_least(1));
    v("rope_share", rope_share, "Sets the share of a head's columns that RoPE turns, the first of them.",
      between(0, 1));
    v("window", window, "Sets how many tokens are seen, the own one included; 0 is all.", between(0, kMostTokens));
    v("sinks", sinks, "Sets how many first tokens stay visible beside the window.", between(0, kMostTokens));
    v("qk_norm", qk_norm, "Puts an RMS norm on q and k of each head, before positions.");
    v("projection", projection, "Chooses what makes q, k, v and the output.");
    visit_bias(v);
    v("value_residual", value_residual,
      "Sets the share of the values of the first layer that has this option in those of the others; default: there is "
      "none.",
      between(0, 1));
    v("value_embedding", value_embedding,
      "Adds a learned vector of the token's id to the values, times a gate that reads so many of the first columns of "
      "the input, 12 in the authors' code; default: there is none.",
      between(1, 65536));
    visit_dropout(v);
  }
};

class Attention final : public Layer {
 public:
  using Options = AttentionMixerOptions;

  Attention(const Options& o, const LayerArgs& args, const Scope& s)
      : heads_(o, args.d_model),
        window_(o.window),
        sinks_(o.sinks),
        value_residual_(o.value_residual),
        alibi_(o.position == "alibi"),
        cache_(o.window, o.sinks, heads_.keys(), heads_.keys()) {
    const bool rope = o.position == "rope";
    const auto turned = std::llround(o.rope_share * static_cast<double>(heads_.width));
    Diagnostics found;
    Heads::check(o, "attention", args.d_model, found);
    if (found.empty() && rope && (turned % 2 || turned == 0))
      found.error(o.mark, fmt::format("attention: rope turns pairs; heads of {} have {} columns to turn", heads_.width,
                                      turned));
    if (o.sinks && !o.window)
      found.error(o.mark, "attention: sinks belong to a window; without one all tokens are seen");
    if (o.sinks && args.block)
      found.error(o.mark, "attention: sinks beside blocks of tokens are not there; leave them out");
    const int64_t q = heads_.queries(), kv = heads_.keys();
    const auto project = [&](const char* name, const ProjectionArgs& p) {
      return found.collect([&] { return o.projection.build(p, s / name); });
    };
    const auto reads_x = [&](const char* name, const std::vector<ProjectionArgs::Part>& parts) {
      return project(name, {.layer = args, .in = args.d_model, .parts = parts, .init = Init::gpt2(), .bias = o.bias});
    };
    if (args.lends_keys) {
      if (o.sinks || alibi_ || o.value_residual)
        found.error(o.mark, "attention: sinks, `position: alibi` and value_residual don't go with keys that are lent");
      q_ = reads_x("q", {{"q", q}});
      qkv_ = reads_x("kv", {{"k", kv}, {"v", kv}});
    } else {
      qkv_ = reads_x("qkv", {{"q", q}, {"k", kv}, {"v", kv}});
    }
    out_ = project("out", {.layer = args,
                           .in = q,
                           .parts = {{"out", args.d_model}},
                           .init = Init::gpt2_residual(args.layers),
                           .role = Role::residual,
                           .bias = o.bias});
    if (const int64_t columns = o.value_embedding.value_or(0); columns > args.d_model)
      found.error(o.mark, fmt::format("attention: value_embedding reads {} columns of {}", columns, args.d_model));
    found.throw_if_any();
    if (o.value_embedding) of_token_.emplace(args, heads_.groups, kv, *o.value_embedding, s);
    if (rope) rope_ = std::make_shared<RotaryTable>(turned, o.rope_theta, args.max_tokens);
    if (o.qk_norm) {
      q_norm_ = std::make_unique<RmsNorm>(s / "q_norm", heads_.width, kQueryKeyNormEps);
      k_norm_ = std::make_unique<RmsNorm>(s / "k_norm", heads_.width, kQueryKeyNormEps);
    }
  }

  void declare(Site& site) const override {
    if (site.borrows()) return;
    cache_.declare(site);
    if (!value_residual_) return;
    const int64_t width = heads_.keys();
    site.on_shelf(kValues) ? site.needs(kValues, width) : site.gives(kValues, width);
  }
  // ALiBi is made for distances that training has not shown (Press et al. 2021); sinks keep their places, so that RoPE
  // turns by ever longer distances to them.
  LongText long_text(int64_t trained) const override {
    if (rope_ && sinks_ > 0) return {.unseen = true, .reach = true, .anew = true};
    const bool within = window_ > 0 && sinks_ <= trained && window_ <= trained - sinks_;
    return {.unseen = !alibi_ && !within, .reach = true};
  }

 protected:
  Tensor run(const Tensor& x, const Call& call) const override {
    const Tensor positions = rope_ ? call.positions(x) : Tensor();
    const auto placed = [&](const Tensor& of, const std::unique_ptr<RmsNorm>& norm, int64_t heads) {
      const Tensor normed = norm ? (*norm)(of) : of;
      return rope_ ? rotary(normed, positions, heads, rope_) : normed;
    };
    if (call.site().borrows()) return borrowed(placed((*q_)(x).front(), q_norm_, heads_.count), call);
    const std::vector<Tensor> parts = (*qkv_)(x);  // q, k and v, or k and v
    const Tensor q = placed(q_ ? (*q_)(x).front() : parts.front(), q_norm_, heads_.count),
                 k = placed(parts[parts.size() - 2], k_norm_, heads_.groups);
    Tensor v = parts.back();
    if (call.site().gives(kValues))
      call.give(kValues, v);
    else if (value_residual_)
      v = add(scale(call.take(kValues), *value_residual_), scale(v, 1 - *value_residual_));
    if (of_token_) v = add(v, (*of_token_)(x, call.ids()));
    CachedKeys keys{.k = k, .v = v, .places = {}};
    if (call.has_state()) {
      const auto [sinks, window] = sight(call);
      keys = cache_.within(window, sinks).extend(k, v, call);
    } else {
      keys.places.segments = call.segments();
    }
    if (q_) *call.tokens().lent = {keys.k, keys.v, keys.places.q_offset, call.segments(), x.dim(1), {}};
    AttentionOptions options = options_for(call);
    follow_direction("attention", call, options, keys.places);
    return (*out_)(effllm::attention(q, keys.k, keys.v, options, keys.places)).front();
  }

 private:
  // With keys and values that an earlier use has lent.
  Tensor borrowed(const Tensor& q, const Call& call) const {
    AttentionOptions options = options_for(call);
    AttentionPlaces places;
    follow_direction("attention", call, options, places);
    const LentKeys& lent = *call.tokens().lent;
    places.ranges = ranges_of(lent, options);
    return (*out_)(effllm::attention(q, lent.k, lent.v, options, places)).front();
  }

  // What is seen: the first tokens and, the own one included, a window of the last; 0: all.
  struct Sight {
    int64_t sinks, window;
  };
  Sight sight(const Call& call) const {
    if (call.pass().reach == 0) return {sinks_, window_};
    const int64_t sinks = std::min(sinks_, call.pass().reach - 1), rest = call.pass().reach - sinks;
    return {sinks, window_ == 0 ? rest : std::min(window_, rest)};
  }
  AttentionOptions options_for(const Call& call) const {
    const auto [sinks, window] = sight(call);
    AttentionOptions o = heads_.options(call);
    o.window = window;
    o.sinks = sinks;
    o.alibi = alibi_;
    return o;
  }

  Heads heads_;
  int64_t window_, sinks_;
  std::optional<double> value_residual_;
  std::optional<ValueEmbedding> of_token_;
  bool alibi_;
  std::unique_ptr<Projection> qkv_, out_, q_;  // q_: null where qkv_ makes q too
  KvCache cache_;
  std::shared_ptr<const RotaryTable> rope_;
  std::unique_ptr<RmsNorm> q_norm_, k_norm_;
};

constexpr std::string_view kVariants[] = {
    "{kv_heads: 1, position: alibi}",
    "{heads: 4, kv_heads: 2, head_dim: 4, qk_norm: true}",
    "{window: 5}",
    "{window: 5, sinks: 1, position: alibi}",
    "{position: none, bias: true}",
    "{rope_share: 0.5, projection: {type: pattention, tokens: 6}}",
    "{kv_heads: 1, projection: {type: pattention, tokens: 6, nonlinearity: gelu}}",
    "{heads: 4, kv_heads: 2, value_embedding: 3}",
    "{value_embedding: 8}",
};

}  // namespace

extern constinit const LayerInfo attention = LayerInfo::of<Attention>({
    .name = "attention",
    .title = "Softmax attention",
    .family = "attention",
    .recurrence = "attention",
    .paper = "Vaswani et al. 2017, arXiv:1706.03762",
    .source =
        "karpathy/nanoGPT@3adf61e, model.py: the start; RoPE, windows and sinks from their papers; value_residual "
        "from Zcchill/Value-Residual-Learning@95652f6, modeling_llama_resformer.py; value_embedding from "
        "karpathy/nanochat@92d63d4, nanochat/gpt.py; rope_share from "
        "EleutherAI/gpt-neox's rotary_pct",
    .deviations =
        "init as in GPT-2; q, k and v are one matrix; RoPE turns pairs (i, i + dh/2) as GPT-NeoX "
        "does; sinks keep their positions; value_residual, 0.5 in the authors' code, is not learned, and comes before "
        "value_embedding, whose vectors learn at the run's rate, there at half the embedding's and with decay "
        "0.01, and start as wide as theirs",
    .both_sides = true,
    .prefix_and_blocks = true,
    .lends_keys = true,
    .unseen = "without `position: alibi`, where the window with its sinks is longer than the sequences of training, "
              "or there is none: RoPE's distances and the number of keys; sinks with RoPE: their distances",
    .tiny = "{heads: 2}",
    .period = 5,
    .variants = kVariants,
});

}  // namespace effllm::mixers
