// Attention to an encoder: every token of the decoder reads all tokens of the encoder's text.
//
//   q = W_q x,  k, v = W_kv m, heads of width dh; with qk_norm: q, k = rms_norm(q), rms_norm(k) per head
//   o_t = sum_j softmax_j(q_t . k_j / sqrt(dh)) v_j over the tokens j of the memory m,   y = W_o o
//
// Positions do not enter: the encoder's are in what it made of its tokens. Remembers k and v of the memory, which are
// computed once. Vaswani et al. 2017, arXiv:1706.03762, section 3.2.3.
#include "cores/attention/attention.h"
#include "base/text.h"
#include "cross/cross.h"
#include "nn/linear.h"
#include "nn/norm.h"
#include "ops/columns.h"

namespace effllm::crosses {
namespace {

constexpr double kNormEps = 1e-6;

struct CrossAttentionOptions final : Options {
  int64_t heads = 4;
  std::optional<int64_t> kv_heads, head_dim;
  bool qk_norm = false, bias = false;
  double dropout = 0;
  void visit(OptionVisitor& v) override {
    v("heads", heads, "Sets the number of query heads.", between(1, 1024));
    v("kv_heads", kv_heads, "Sets the number of key-value heads, a divisor of heads; default: heads.",
      between(1, 1024));
    v("head_dim", head_dim, "Sets the width of a head; default: d_model / heads.", between(1, 4096));
    v("qk_norm", qk_norm, "Puts an RMS norm on q and k of each head.");
    v("bias", bias, "Adds learned offsets in the projections.");
    v("dropout", dropout, "Sets the dropout of the attention probabilities.", between(0, 0.99));
  }
};

class CrossAttention final : public Layer {
 public:
  using Options = CrossAttentionOptions;

  CrossAttention(const Options& o, const LayerArgs& args, const Scope& s)
      : heads_(o.heads),
        kv_heads_(o.kv_heads.value_or(o.heads)),
        head_dim_(o.head_dim.value_or(std::max<int64_t>(1, args.d_model / o.heads))),
        dropout_(o.dropout),
        q_(s / "q", args.d_model, heads_ * head_dim_, Init::gpt2(), Role::hidden, o.bias),
        kv_(s / "kv", args.d_model, {kv_heads_ * head_dim_, kv_heads_ * head_dim_}, Init::gpt2(), Role::hidden, o.bias),
        out_(s / "out", heads_ * head_dim_, args.d_model, Init::gpt2_residual(args.layers), Role::residual, o.bias) {
    Diagnostics found;
    if (!o.head_dim && args.d_model % heads_)
      found.error(o.mark, fmt::format("cross attention: {} heads don't divide d_model {}; give head_dim", heads_,
                                      args.d_model));
    if (heads_ % kv_heads_)
      found.error(o.mark, fmt::format("cross attention: {} don't divide {}", counted(kv_heads_, "kv_head"),
                                      counted(heads_, "head")));
    found.throw_if_any();
    if (o.qk_norm) {
      q_norm_ = std::make_unique<RmsNorm>(s / "q_norm", head_dim_, kNormEps);
      k_norm_ = std::make_unique<RmsNorm>(s / "k_norm", head_dim_, kNormEps);
    }
  }

  void declare(Site& site) const override { site.of_memory({"k", "v"}, {kv_heads_ * head_dim_}); }
  void remember(const Memory& memory, const Call& call) const override {
    const Keys keys = keys_of(memory);
    call.write("k", keys.k);
    call.write("v", keys.v);
    call.write("length", keys.lengths);
  }

 protected:
  Tensor run(const Tensor& x, const Call& call) const override {
    const Keys keys =
        call.has_state() ? Keys{call.read("k"), call.read("v"), call.read("length")} : keys_of(call.tokens().memory);
    Tensor q = q_(x);
    if (q_norm_) q = (*q_norm_)(q);
    AttentionOptions o{.heads = heads_,
                       .kv_heads = kv_heads_,
                       .causal = false,
                       .dropout = call.left_out(dropout_),
                       .samples = call.tokens().samples};
    if (call.pass().chunk > 0) o.chunk = call.pass().chunk;
    if (o.dropout > 0) {
      const RandomStream numbers = call.random("attention");
      o.drop_key[0] = numbers.key0();
      o.drop_key[1] = numbers.key1();
    }
    AttentionPlaces places;
    places.lengths = keys.lengths;
    return out_(effllm::attention(q, keys.k, keys.v, o, places));
  }

 private:
  struct Keys {
    Tensor k, v;     // [B, S, G dh]
    Tensor lengths;  // i64 [B]
  };
  Keys keys_of(const Memory& memory) const {
    require(memory.rows.defined(), "cross attention reads the memory of an encoder, and was given none");
    const int64_t width = kv_heads_ * head_dim_;
    const std::vector<Tensor> kv = split_columns(kv_(memory.rows), {width, width});
    Keys keys{kv[0], kv[1], memory.lengths};
    if (k_norm_) keys.k = (*k_norm_)(keys.k);
    if (!keys.lengths.defined()) {
      keys.lengths = Tensor::dense({memory.rows.dim(0)}, DType::i64);
      if (!keys.lengths.is_meta()) std::fill_n(keys.lengths.data<int64_t>(), keys.lengths.numel(), memory.rows.dim(1));
    }
    return keys;
  }

  int64_t heads_, kv_heads_, head_dim_;
  double dropout_;
  Linear q_, kv_, out_;
  std::unique_ptr<RmsNorm> q_norm_, k_norm_;
};

}  // namespace

extern constinit const LayerInfo attention = LayerInfo::of<CrossAttention>({
    .name = "attention",
    .title = "Attention to an encoder",
    .family = "attention",
    .recurrence = "attention",
    .paper = "Vaswani et al. 2017, arXiv:1706.03762",
    .source = "none: the equations of the paper; its place among the parts of a layer is T5's, "
              "google-research/text-to-text-transfer-transformer@e081111",
    .deviations = "scores are divided by the root of a head's width, which T5 has in its start; no relative positions; "
                  "init as in GPT-2; k and v are one matrix",
    .both_sides = true,
    .reads_memory = true,
    .tiny = "{heads: 2}",
});

}  // namespace effllm::crosses
