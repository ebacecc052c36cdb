// Linearized attention: sharp attention inside a group of tokens, linear attention to the groups before, a short
// filter.
//
//   x' = x with half of its channels one token late;  v, gate = silu(W_h x' + b);  z = silu(W_z x' + b)
//   q, k of both parts = rope(z * gamma_i + beta_i), i = 1..4
//   local:   sum over s <= t in t's group of f(q.k_s / g + b(t - s)) v_s,  f = laplace or relu^2, no softmax
//   global:  S^T q / g,  S = sum of k_s v_s^T over the groups before t's
//   y = W_o (gate * (local + global + sum_j w_j v_{t-j})) + b
//
// A token of an unfinished group must not read its own group's sum, nor may the filter reach ahead: both would show it
// the future. Remembers S, k and v of the unfinished group, the filter's last values and half of the last token. You et
// al. 2024, "When Linear Attention Meets Autoregressive Decoding", arXiv:2406.07368, after FLASH (Hua et al. 2022,
// arXiv:2202.10447).
#include <cmath>

#include "cores/conv/shared_filter.h"
#include "cores/conv/shift_columns.h"
#include "cores/gla/group_memory.h"
#include "mixers/mixer.h"
#include "nn/linear.h"
#include "nn/tail.h"
#include "ops/arithmetic.h"
#include "ops/columns.h"
#include "ops/offset_scale.h"
#include "ops/pointwise.h"
#include "ops/rotary.h"

namespace effllm::mixers {
namespace {

constexpr int64_t kRoles = 4;       // q local, q global, k local, k global
constexpr int64_t kBuckets = 32;    // of distances: half of them exact, the others in steps of a ratio
constexpr int64_t kFarthest = 128;  // from here on one bucket
constexpr double kGammaStd = 0.02;
constexpr double kRopeTheta = 10000;

struct LinearizedOptions final : Options {
  double expand = 2;
  int64_t query_key_dim = 128, group = 256, taps = 32, rotary_dim = 32;
  std::string scores = "laplace";
  bool token_shift = true, local = true, global = true;
  void visit(OptionVisitor& v) override {
    v("expand", expand, "Sets the value width, as a multiple of the model width.", between(0.01, 16));
    v("query_key_dim", query_key_dim, "Sets the width of queries and keys.", between(1, 4096));
    v("group", group, "Sets how many tokens make a group.", between(2, 1 << 20));
    v("scores", scores, "Chooses how a key counts inside a group.", {"laplace", "relu2"});
    v("token_shift", token_shift, "Lets half of the channels come one token late.");
    v("taps", taps, "Sets how many tokens the filter of the values sees; 0 leaves it out.", between(0, 1024));
    v("local", local, "Switches attention inside the group on.");
    v("global", global, "Switches linear attention to the groups before on.");
    v("rotary_dim", rotary_dim, "Sets how many channels of queries and keys RoPE turns, at most all; 0 is none.",
      between(0, 4096));
  }
};

// Of distances up to kFarthest. Raffel et al. 2020 (T5, arXiv:1910.10683), causal.
std::vector<int32_t> distance_buckets() {
  std::vector<int32_t> at;
  for (int64_t d = 0; d <= kFarthest; ++d) {
    constexpr int64_t kExact = kBuckets / 2;
    const double ratio = std::log(static_cast<double>(std::max<int64_t>(d, 1)) / kExact) /
                         std::log(static_cast<double>(kFarthest) / kExact);
    const auto far = static_cast<int64_t>(kExact + ratio * (kBuckets - kExact));
    at.push_back(static_cast<int32_t>(d < kExact ? d : std::min(far, kBuckets - 1)));
  }
  return at;
}

class LinearizedAttention final : public Layer {
 public:
  using Options = LinearizedOptions;

  LinearizedAttention(const Options& o, const LayerArgs& args, const Scope& s)
      : values_(width_of(o.expand, args, o)),
        keys_(o.query_key_dim),
        group_(o.group),
        taps_(o.taps),
        shifted_(o.token_shift ? (args.d_model + 1) / 2 : 0),
        local_(o.local),
        global_(o.global),
        hidden_(s / "hidden", args.d_model, {values_, values_}, Init::torch_linear(args.d_model), Role::hidden, true),
        z_(s / "z", args.d_model, keys_, Init::torch_linear(args.d_model), Role::hidden, true),
        out_(s / "out", values_, args.d_model, Init::torch_linear(values_), Role::residual, true),
        gamma_(&s.param("offset_scale.weight", {kRoles, keys_}, Init::normal(kGammaStd), {.decay = false})),
        beta_(&s.param("offset_scale.bias", {kRoles, keys_}, Init::zeros(), {.decay = false})),
        position_bias_(&s.param("position_bias", {kBuckets}, Init::normal(1), {.decay = false})),
        // As the centre and the past of a filter of 2 taps - 1.
        filter_(o.taps > 0 ? &s.param("conv.weight", {1, taps_}, Init::torch_linear(2 * taps_ - 1)) : nullptr),
        scores_{.group = group_,
                .score = o.scores == "laplace" ? Pointwise::laplace : Pointwise::relu2,
                .bias_at = distance_buckets(),
                .bias_scale = std::sqrt(static_cast<double>(keys_))} {
    for (const auto& [layer, in] : {std::pair{&hidden_, args.d_model}, {&z_, args.d_model}, {&out_, values_}})
      layer->bias->init = Init::torch_linear(in);
    const int64_t turned = std::min(o.rotary_dim, keys_);
    Diagnostics found;
    if (!local_ && !global_ && !filter_)
      found.error(o.mark, "linearized_attention: nothing is left without `local`, `global` and `taps`");
    if (turned % 2)
      found.error(o.mark, fmt::format("linearized_attention: rope turns pairs; it can't turn {} channels", turned));
    found.throw_if_any();
    if (turned > 0) rope_ = std::make_shared<RotaryTable>(turned, kRopeTheta, args.max_tokens);
  }

  void declare(Site& site) const override {
    const int64_t pending = group_ - 1;  // of the unfinished group, at most
    if (global_) site.field("s", {1, keys_, values_});
    if (local_) site.window("k_quad", pending, {keys_});
    if (global_) site.window("k_lin", pending, {keys_});
    if (local_ || global_) site.window("v", pending, {values_});
    if (taps_ > 1) site.field("conv", {taps_ - 1, values_});
    if (shifted_) site.field("shift", {1, shifted_});
  }

  LongText long_text(int64_t trained) const override {
    const bool unseen = global_ || (local_ && group_ > trained);
    return {.unseen = unseen, .anew = unseen};
  }

 protected:
  Tensor run(const Tensor& x, const Call& call) const override {
    const Tensor segments = call.segments();
    Tensor u = x;
    if (shifted_) {
      auto [y, last] = shift_columns(x, shifted_, call.read("shift"), segments);
      u = y;
      call.write("shift", last);
    }
    const auto parts = split_columns(silu(hidden_(u)), {values_, values_});
    const Tensor &v = parts[0], &gate = parts[1];
    Tensor o;
    if (local_ || global_) {
      Tensor roles = offset_scale(silu(z_(u)), gamma_->value, beta_->value);
      if (rope_) roles = rotary(roles, call.positions(x), kRoles, rope_);
      const auto q_k = split_columns(roles, {2 * keys_, 2 * keys_});
      const auto q = split_columns(scale(q_k[0], 1 / static_cast<double>(group_)), {keys_, keys_});
      const auto k = split_columns(q_k[1], {keys_, keys_});
      const Counts before = unfinished(call.seen(), x.dim(0));
      Tensor pending;
      if (call.has_state()) {
        pending = Tensor::dense({x.dim(0)}, DType::i64);
        if (!MetaMode::on()) std::copy(before.begin(), before.end(), pending.data<int64_t>());
      }
      if (local_) {
        ScoreAttentionOptions options = scores_;
        options.chunk = call.pass().chunk;
        o = score_attention(q[0], k[0], v, position_bias_->value, options,
                            {call.read("k_quad"), call.read("v"), pending}, segments);
      }
      if (global_) {
        auto [far, s] = group_memory(q[1], k[1], v, 1, group_, call.read("s"),
                                     {call.read("k_lin"), call.read("v"), pending}, segments);
        o = o.defined() ? add(o, far) : far;
        call.write("s", s);
      }
      if (call.has_state()) {
        const Counts after = unfinished(call.seen_after(x.dim(1)), x.dim(0));
        if (local_) keep("k_quad", k[0], before, after, call);
        if (global_) keep("k_lin", k[1], before, after, call);
        keep("v", v, before, after, call);
      }
    }
    if (filter_) {
      auto [y, last] = shared_filter(v, filter_->value, taps_ > 1 ? call.read("conv") : Tensor(), segments, o);
      o = y;
      if (taps_ > 1) call.write("conv", last);
    }
    return out_(multiply(gate, o));
  }

 private:
  // Of each sequence's tokens, how many are of a group that is not complete. seen: i64 [B], undefined for none.
  Counts unfinished(const Tensor& seen, int64_t batch) const {
    Counts n(static_cast<size_t>(batch), 0);
    for (int64_t b = 0; seen.defined() && !MetaMode::on() && b < batch; ++b)
      n[static_cast<size_t>(b)] = seen.data<int64_t>()[b] % group_;
    return n;
  }
  static void keep(std::string_view field, const Tensor& x, const Counts& before, const Counts& after,
                   const Call& call) {
    call.write(field, keep_tail(call.own(field), x, before, after));
  }

  int64_t values_, keys_, group_, taps_, shifted_;
  bool local_, global_;
  Linear hidden_, z_, out_;
  Parameter *gamma_, *beta_, *position_bias_, *filter_;
  ScoreAttentionOptions scores_;
  std::shared_ptr<const RotaryTable> rope_;
};

constexpr std::string_view kVariants[] = {"{scores: relu2, rotary_dim: 2}", "{token_shift: false, global: false}",
                                          "{local: false, taps: 7}", "{taps: 0, expand: 1, group: 5}"};

}  // namespace

extern constinit const LayerInfo linearized_attention = LayerInfo::of<LinearizedAttention>({
    .name = "linearized_attention",
    .title = "Linearized attention",
    .family = "linear attention",
    .recurrence = "attention and memory of groups",
    .paper = "You et al. 2024, arXiv:2406.07368",
    .source = "GATECH-EIC/Linearized-LLM@273274e, flash_pytorch.py",
    .deviations = "the block's norm stands for the layer's; no scaled sinusoidal embedding at the model's input; the "
                  "filter has the causal taps alone, where the authors mask the others of 2 taps - 1; RoPE turns pairs "
                  "(i, i + n/2)",
    .unseen = "`global`: sums of more groups, and RoPE's distances to them; `local`: places in a group that is longer "
              "than the sequences of training",
    .tiny = "{query_key_dim: 6, group: 4, taps: 4}",
    .variants = kVariants,
});

}  // namespace effllm::mixers
