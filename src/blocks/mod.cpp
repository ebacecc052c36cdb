// Mixture-of-Depths: a block that only some tokens of a sequence go through.
//
//   x_t + r_t f(x)_t for the chosen, x_t for the others;  r_t = w . x_t
//
// f is what mixer and channel mixer add, over the sequence of the chosen alone: they are the only keys, and what is
// remembered. Training takes the k = ceil(capacity T) tokens of a sequence with the largest r. That looks ahead, so
// that evaluation and decoding take those for which a predictor, trained beside on the same tokens, says yes; or those
// with r > 0, where a loss of r itself has taught it so. A capacity of 1 or 0 takes all tokens or none in both, and
// nobody is asked. Raposo et al. 2024, arXiv:2404.02258.
#include <fmt/format.h>

#include <cmath>
#include <numeric>

#include "blocks/residual.h"
#include "blocks/token_choice.h"
#include "cores/route/tokens.h"
#include "nn/linear.h"
#include "ops/arithmetic.h"
#include "ops/linear.h"
#include "ops/logistic_loss.h"
#include "ops/pointwise.h"

namespace effllm::blocks {
namespace {

constexpr Metric kCausalLoss{"causal_loss", "nat", "mean cross-entropy of the causal choice against training's"},
    kAgreement{"agreement", "1", "share of tokens for which the causal choice is training's"},
    kCausalChosen{"causal_chosen", "1", "share of tokens that the causal choice takes"},
    kMean{"router_mean", "1", "mean of the router's r"},
    kPositive{"router_positive", "1", "share of tokens with r above 0"};

// f(sequence, token) of each token, [B, T, 1] like x.
template <class F>
Tensor of_each_token(const Tensor& x, F&& f) {
  const Tensor y = Tensor::empty({x.dim(0), x.dim(1), 1}, x.dtype());
  if (y.is_meta()) return y;
  dispatch_float(x.dtype(), [&]<class T>() {
    for (int64_t r = 0; r < y.rows(); ++r) *y.view<T>().row(r) = static_cast<T>(f(r / x.dim(1), r % x.dim(1)));
  });
  return y;
}

struct ModOptions final : ResidualOptions {
  double capacity = 0.125;
  std::string weight = "raw", router = "learned", causal = "predictor";
  int64_t predictor_width = 16;
  double causal_weight = 0.01;
  void visit(OptionVisitor& v) override {
    ResidualOptions::visit(v);
    v("capacity", capacity, "Sets the share of a sequence's tokens that go through the block.", between(0, 1));
    v("weight", weight, "Multiplies what the block adds by r as it is, or by its sigmoid.", {"raw", "sigmoid"});
    v("router", router, "Lets a learned r choose, or random numbers, as a control; these multiply nothing.",
      {"learned", "random"});
    v("causal", causal, "Chooses who decides outside training: a predictor of its own, or r above 0.",
      {"predictor", "aux"});
    v("predictor_width", predictor_width, "Sets the inner width of the predictor.", between(1, 65536));
    v("causal_weight", causal_weight,
      "Weighs the cross-entropy that trains the causal choice; a predictor's has no gradient but its own.",
      between(0, 100));
  }
};

class Mod final : public Residual {
 public:
  using Options = ModOptions;
  Mod(const Options& o, const LayerArgs& args, const Scope& s) : Residual(o, args, s.for_share(o.capacity)), o_(o) {
    const ModOptions usual;
    if (!asks() && (o.causal != usual.causal || o.causal_weight != usual.causal_weight ||
                    o.predictor_width != usual.predictor_width))
      throw_at(o.mark,
               fmt::format("mod: a capacity of {} takes {}, and asks nobody: leave `causal`, `causal_weight` and "
                           "`predictor_width` out",
                           o.capacity, o.capacity > 0 ? "all tokens" : "no token"));
    const bool predicts = o.router != "random" && o.causal == "predictor";
    if (!predicts && o.predictor_width != usual.predictor_width)
      throw_at(o.mark, "mod: predictor_width does nothing without router: learned and causal: predictor");
    if (o.router == "random") {
      if (o.weight != usual.weight || o.causal != usual.causal || o.causal_weight != usual.causal_weight)
        throw_at(o.mark,
                 "mod: random numbers multiply nothing and need no causal choice: leave `weight`, `causal` and "
                 "`causal_weight` out");
      return;
    }
    router_ = &(s / "router").param("weight", {1, args.d_model}, Init::normal(0.02), {});
    if (o.causal == "aux" || !asks()) return;
    const Scope p = s / "predictor";
    up_.emplace(p / "up", args.d_model, o.predictor_width, Init::torch_linear(args.d_model), Role::own, true);
    down_.emplace(p / "down", o.predictor_width, 1, Init::torch_linear(o.predictor_width), Role::own, true);
  }

  void declare(Site& site) const override {
    site.count_tokens();
    site.may_be_left_out();
    Residual::declare(site.child("chosen"));
  }
  bool trains_otherwise() const override { return asks() || Residual::trains_otherwise(); }
  void remember(const Memory& memory, const Call& call) const override {
    Residual::remember(memory, call.child("chosen"));
  }
  // What is left of a text after a cut has not the tokens that its mixer would have seen.
  LongText long_text(int64_t trained) const override { return anew_if_unseen(Residual::long_text(trained)); }

 protected:
  Tensor run(const Tensor& x, const Call& call) const override {
    const Tensor r = router_ ? linear_by_dots(x, router_->value) : Tensor();
    const Chosen chosen = call.pass().phase == Phase::train ? largest(x, r, call) : causal(x, r, call);
    const Tensor weight = r.defined() && o_.weight == "sigmoid" ? sigmoid(r) : r;
    const Tensor y = run_chosen(x, call, "chosen", chosen, share(x), [&](const Own& own, const Call& there) {
      const Tensor in = own(x);
      const Added f = added(in, there);
      there.advance(in.dim(1));
      return with(in, f, weight.defined() ? own(weight) : Tensor());
    });
    call.advance(x.dim(1));
    return y;
  }

 private:
  bool asks() const { return o_.capacity > 0 && o_.capacity < 1; }
  int64_t count(const Tensor& x) const { return tokens_of(o_.capacity, x.dim(1)); }
  double share(const Tensor& x) const { return static_cast<double>(count(x)) / static_cast<double>(x.dim(1)); }

  // Those of training; what teaches the causal choice to follow them.
  Chosen largest(const Tensor& x, const Tensor& r, const Call& call) const {
    const Tensor score = r.defined() ? r : noise(x, call);
    Tensor margin;
    const Chosen chosen = chosen_of(top_tokens(score, count(x), &margin));
    show_choice(call, chosen, score, margin);
    if (!call.adds_up() || !r.defined()) return chosen;
    call.mean(kMean, sum_over(r, r, [](double z, double) { return z; }));
    call.mean(kPositive, sum_over(r, r, [](double z, double) { return z > 0; }));
    if (!asks()) return chosen;
    const Tensor says = decision(x, r), marks = marks_of(chosen, r);
    call.loss(kCausalLoss, logistic_loss(says, marks), o_.causal_weight);
    call.mean(kAgreement, sum_over(says, marks, [](double z, double mark) { return (z > 0) == (mark > 0); }));
    call.mean(kCausalChosen, sum_over(says, marks, [](double z, double) { return z > 0; }));
    return chosen;
  }

  // Those that each token decides on by itself; on shapes alone as many as training takes.
  Chosen causal(const Tensor& x, const Tensor& r, const Call& call) const {
    if (!asks()) return all_or_none(x, call);
    const Tensor says = r.defined() ? decision(x, r) : draw(x, call);
    const Chosen chosen = chosen_above_zero(says, {}, count(x));
    show_choice(call, chosen, says);
    return chosen;
  }

  // As many as there are, or 0 of them.
  Chosen all_or_none(const Tensor& x, const Call& call) const {
    Chosen chosen(static_cast<size_t>(x.dim(0)), std::vector<int64_t>(static_cast<size_t>(count(x))));
    for (std::vector<int64_t>& own : chosen) std::iota(own.begin(), own.end(), 0);
    show_choice(call, chosen, Tensor::zeros(Shape{x.dim(0), x.dim(1), 1}, x.dtype()));
    return chosen;
  }

  // Above 0: yes. [B, T, 1].
  Tensor decision(const Tensor& x, const Tensor& r) const {
    if (!up_) return r;
    return in_one_order(*down_, silu(in_one_order(*up_, x.untracked())));
  }
  static Tensor in_one_order(const Linear& layer, const Tensor& x) {
    return affine_columns(linear_by_dots(x, layer.weight->value), {}, layer.bias->value);
  }

  // Random scores of a step's samples, and a token's by its place.
  static Tensor noise(const Tensor& x, const Call& call) {
    const RandomStream numbers = call.random("route");
    return of_each_token(x, [&](int64_t b, int64_t t) {
      return numbers.normal(static_cast<uint64_t>(call.tokens().samples[b]) << 32 | static_cast<uint64_t>(t));
    });
  }
  Tensor draw(const Tensor& x, const Call& call) const {
    const RandomStream numbers(0, call.site().path());
    const Tensor places = call.positions(x);
    return of_each_token(x, [&](int64_t b, int64_t t) {
      return o_.capacity - numbers.uniform(static_cast<uint64_t>(places.view<int64_t>().row(b)[t]));
    });
  }

  ModOptions o_;
  Parameter* router_ = nullptr;
  std::optional<Linear> up_, down_;
};

constexpr std::string_view kVariants[] = {
    "{capacity: 0.3, causal: aux, weight: sigmoid, mixer: {type: gla, heads: 2, gate_rank: 3}, ffn: none}",
    "{capacity: 1, mixer: {type: attention, heads: 2, window: 3}, ffn: rwkv_channel_mix}",
    "{capacity: 0.6, mixer: {type: nsa, heads: 2, kv_heads: 1, head_dim: 4, compress_block: 4, compress_stride: 2, "
    "select_block: 2, "
    "select: 4, window: 3}, ffn: {type: moe, experts: 3, expand: 1}}",
    "{capacity: 0.6, mixer: {type: ttt_linear, heads: 2, mini_batch: 5}, ffn: {type: moe, choose: hash, experts: 3, "
    "top_k: 1, expand: 1}}",
    "{router: random, capacity: 0.6, norm: {type: layer_norm, bias: true}, dropout: 0.2}",
    "{capacity: 0.3, cross: {type: attention, heads: 2}}"};

}  // namespace

extern constinit const LayerInfo mod = LayerInfo::of<Mod>({
    .name = "mod",
    .title = "Mixture-of-Depths",
    .family = "block",
    .recurrence = "that of its mixer",
    .paper = "Raposo et al. 2024, arXiv:2404.02258",
    .source = "none: the paper's code is not public",
    .deviations =
        "any mixer, and a channel mixer or none; r starts N(0, 0.02), the predictor as a two-layer perceptron with "
        "SiLU, "
        "of which the paper gives no sizes; sigmoid of r is an option; rows of several documents have one capacity; "
        "windows and distances of ALiBi count chosen tokens, RoPE all; random numbers, the control, choose by a "
        "token's "
        "place outside training and multiply nothing; `describe` counts a decoded token as one that is chosen",
    .waivers = {.causal = "the tokens that are chosen are multiplied together, and how many there are decides in which "
                          "order a product adds up",
                .training = "training chooses the largest r of a whole sequence"},
    .unseen = "what its mixer meets",
    .needs = "{mixer: {type: attention}, ffn: {type: swiglu}}",
    .tiny = "{capacity: 0.5, mixer: min_gru, ffn: mlp}",
    .period = 8,
    .variants = kVariants,
});

}  // namespace effllm::blocks
