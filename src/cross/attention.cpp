// Attention to an encoder: every token of the decoder reads all tokens of the encoder's text.
//
//   q = W_q x,  k, v = W_kv m, heads of width dh; with qk_norm: q, k = rms_norm(q), rms_norm(k) per head
//   o_t = sum_j softmax_j(q_t . k_j / sqrt(dh)) v_j over the tokens j of the memory m,   y = W_o o
//
// Positions do not enter: the encoder's are in what it made of its tokens. Remembers k and v of the memory, which are
// computed once. Vaswani et al. 2017, arXiv:1706.03762, section 3.2.3.
#include "cores/attention/attention.h"
#include "cross/cross.h"
#include "nn/heads.h"
#include "nn/linear.h"
#include "nn/norm.h"
#include "ops/columns.h"

namespace effllm::crosses {
namespace {

struct CrossAttentionOptions final : HeadOptions {
  void visit(OptionVisitor& v) override {
    HeadOptions::visit_heads(v);
    v("qk_norm", qk_norm, "Puts an RMS norm on q and k of each head.");
    HeadOptions::visit_bias(v);
    HeadOptions::visit_dropout(v);
  }
};

class CrossAttention final : public Layer {
 public:
  using Options = CrossAttentionOptions;

  CrossAttention(const Options& o, const LayerArgs& args, const Scope& s)
      : heads_(o, args.d_model),
        q_(s / "q", args.d_model, heads_.queries(), Init::gpt2(), Role::hidden, o.bias),
        kv_(s / "kv", args.d_model, {heads_.keys(), heads_.keys()}, Init::gpt2(), Role::hidden, o.bias),
        out_(s / "out", heads_.queries(), args.d_model, Init::gpt2_residual(args.layers), Role::residual, o.bias) {
    Diagnostics found;
    Heads::check(o, "cross attention", args.d_model, found);
    found.throw_if_any();
    if (o.qk_norm) {
      q_norm_ = std::make_unique<RmsNorm>(s / "q_norm", heads_.width, kQueryKeyNormEps);
      k_norm_ = std::make_unique<RmsNorm>(s / "k_norm", heads_.width, kQueryKeyNormEps);
    }
  }

  void declare(Site& site) const override { site.of_memory({"k", "v"}, {heads_.keys()}); }
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
    AttentionOptions o = heads_.options(call);
    o.causal = false;
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
    const std::vector<Tensor> kv = split_columns(kv_(memory.rows), {heads_.keys(), heads_.keys()});
    Keys keys{kv[0], kv[1], memory.lengths};
    if (k_norm_) keys.k = (*k_norm_)(keys.k);
    if (!keys.lengths.defined()) {
      keys.lengths = Tensor::dense({memory.rows.dim(0)}, DType::i64);
      if (!keys.lengths.is_meta()) std::fill_n(keys.lengths.data<int64_t>(), keys.lengths.numel(), memory.rows.dim(1));
    }
    return keys;
  }

  Heads heads_;
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
