// Mixture-of-Recursions: one residual block that is taken up to N times, by ever fewer tokens.
//
//   expert choice   h <- h + g(s) f(h) for the chosen of step r, of those of the step before;  s = w_r . h,  g = alpha
//                   sigmoid(s), alpha tanh(s), s or 1; training takes the ceil(capacity_r T) largest s, evaluation
//                   those with s > 0
//   token choice    y = x + p (h - x), h after d steps of h <- h + f(h);  d = the step with the largest p, which is of
//                   softmax(W x) or alpha sigmoid(W x)
//
// f is what mixer and channel mixer add, over the tokens of the step alone, at their places among all. Each step has a
// state of its own, that of its tokens; or, with `states: shared`, the keys and values that the first step makes of all
// tokens are read by all steps, section 2.2.2. Bae et al. 2025, arXiv:2507.10524.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "blocks/residual.h"
#include "blocks/token_choice.h"
#include "cores/route/tokens.h"
#include "ffn/router.h"
#include "ops/arithmetic.h"
#include "ops/columns.h"
#include "ops/groups.h"
#include "ops/linear.h"
#include "ops/logistic_loss.h"
#include "ops/pointwise.h"

namespace effllm::blocks {
namespace {

constexpr Metric kCausalLoss{"causal_loss", "nat", "cross-entropy of s > 0 against training's choice, over all steps"},
    kAgreement{"agreement", "1", "share of decisions in which s > 0 is training's choice"},
    kMean{"router_mean", "1", "mean of the scores s of the tokens that a step chooses from, over all steps"},
    kPositive{"router_positive", "1", "share of those scores above 0"},
    kSteps{"steps", "1", "mean number of steps of a token, where tokens choose"};

struct MorOptions final : ResidualOptions {
  int64_t recursions = 3;
  std::string routing = "expert", weight = "sigmoid", depth_weight = "softmax", states = "own";
  std::vector<double> capacities;
  double alpha = 0.1, causal_weight = 0.001, balance = 0.1;
  void visit(OptionVisitor& v) override {
    ResidualOptions::visit(v);
    v("recursions", recursions, "Sets how often a token may go through the block.", between(1, 64));
    v("routing", routing,
      "Lets each step choose among the tokens of the one before, or each token its number of steps.",
      {"expert", "token"});
    v("capacities", capacities,
      "Sets the share of a sequence's tokens that each step takes, never more than the one before; default: N / N, "
      "(N - 1) / N and so on.",
      between(0, 1));
    v("states", states,
      "Lets each step remember keys and values of its own tokens, or all steps read those of the first, which takes "
      "all tokens; shared is for `attention` alone, without sinks, value_residual or alibi.",
      {"own", "shared"});
    v("weight", weight,
      "Multiplies what a chosen step adds by alpha times the sigmoid or the tanh of its score, by the score, or by "
      "nothing, so that only `causal_weight` teaches scores.",
      {"sigmoid", "tanh", "raw", "none"});
    v("depth_weight", depth_weight,
      "Multiplies, where tokens choose, what their steps add by the softmax of the scores of all numbers of steps, or "
      "by "
      "alpha times the sigmoid of theirs.",
      {"softmax", "sigmoid"});
    v("alpha", alpha, "Multiplies the sigmoid or the tanh.", between(0, 100));
    v("causal_weight", causal_weight, "Weighs the cross-entropy that teaches the score to be above 0 for the chosen.",
      between(0, 100));
    v("balance", balance, "Weighs the balance loss of numbers of steps, where tokens choose.", between(0, 100));
  }
};

class Mor final : public Residual {
 public:
  using Options = MorOptions;
  Mor(const Options& o, const LayerArgs& args, const Scope& s)
      : Residual(o, lending(args, o.states == "shared"),
                 s.for_share(o.capacities.empty() ? 1 : std::min(1.0, o.capacities.front()))),
        o_(o) {
    for (int64_t r = 0; o.capacities.empty() && r < o.recursions; ++r)
      o_.capacities.push_back(static_cast<double>(o.recursions - r) / static_cast<double>(o.recursions));
    if (static_cast<int64_t>(o_.capacities.size()) != o.recursions ||
        !std::ranges::is_sorted(o_.capacities, std::greater()))
      throw_at(o.mark,
               fmt::format("mor: capacities are one for each of {} steps, none above the one before", o.recursions));
    if (shares()) {
      if (!o.mixer.info().lends_keys)
        throw_at(o.mixer.mark(), fmt::format("mor: `states: shared` is for mixers whose keys can be lent, as "
                                             "attention's; `{}` remembers otherwise",
                                             o.mixer.info().name));
      if (o.recursions == 1) throw_at(o.mark, "mor: `states: shared` does nothing with one step");
      if (o_.capacities.front() < 1)
        throw_at(o.mark, "mor: with `states: shared` the first step takes all tokens: let capacities begin with 1");
    }
    const MorOptions usual;
    const bool token = o.routing == "token";
    if (token && (o.weight != usual.weight || !o.capacities.empty() || o.causal_weight != usual.causal_weight))
      throw_at(o.mark, "mor: weight, capacities and causal_weight do nothing with routing: token");
    const bool squashed = token ? o.depth_weight == "sigmoid" : o.weight == "sigmoid" || o.weight == "tanh";
    if (o.alpha != usual.alpha && !squashed)
      throw_at(o.mark, fmt::format("mor: alpha does nothing without {}",
                                   token ? "depth_weight: sigmoid" : "weight: sigmoid or weight: tanh"));
    if (!token && (o.balance != usual.balance || o.depth_weight != usual.depth_weight))
      throw_at(o.mark, "mor: balance and depth_weight do nothing without routing: token");
    if (o.weight == "none" && o.causal_weight == 0)
      throw_at(o.mark, "mor: with weight: none the scores learn by causal_weight alone: let it be above 0");
    if (token) {
      RouterOptions depth;
      depth.experts = o.recursions;
      depth.top_k = 1;
      depth.topk_norm = false;
      depth.balance = o.balance;
      if (o.depth_weight == "sigmoid") depth.score = "sigmoid", depth.scale = o.alpha;
      depth_.emplace(depth, "mor", args, s / "routers", o.mark);
      return;
    }
    routers_ = &(s / "routers")
                    .param("weight", {o.recursions, args.d_model}, Init::normal(0.02),
                           {.role = Role::hidden, .matrices = {o.recursions}});
  }

  void declare(Site& site) const override {
    site.count_tokens();
    site.may_be_left_out();
    for (int64_t r = 0; r < o_.recursions; ++r) {
      Site& own = site.child(step(r));
      if (r > 0 && shares()) own.borrow();
      Residual::declare(own);
    }
  }
  bool trains_otherwise() const override { return routers_ || Residual::trains_otherwise(); }
  LongText long_text(int64_t trained) const override { return anew_if_unseen(Residual::long_text(trained)); }
  void remember(const Memory& memory, const Call& call) const override {
    for (int64_t r = 0; r < o_.recursions; ++r) Residual::remember(memory, call.child(step(r)));
  }

 protected:
  Tensor run(const Tensor& x, const Call& call) const override {
    Tokens tokens = call.tokens();
    if (shares()) tokens.lent = std::make_shared<LentKeys>();
    const Call lending = call.with(call.pass(), tokens);
    const Tensor y = routers_ ? by_step(x, lending) : by_token(x, lending);
    call.advance(x.dim(1));
    return y;
  }

 private:
  static LayerArgs lending(LayerArgs args, bool keys) {
    args.lends_keys = keys;
    return args;
  }
  bool shares() const { return o_.states == "shared"; }
  static std::string step(int64_t r) { return fmt::format("step{}", r + 1); }

  // One step for those tokens: h + g f(h), or h + f(h) where g is undefined.
  Tensor taken(const Tensor& h, const Call& call, int64_t r, const Chosen& chosen, const Tensor& g) const {
    const double share = static_cast<double>(count(r, h.dim(1))) / static_cast<double>(h.dim(1));
    return run_chosen(h, call, step(r), chosen, share, [&](const Own& own, const Call& there) {
      const Tensor in = own(h);
      const Added f = added(in, there);
      there.advance(in.dim(1));
      return with(in, f, g.defined() ? own(g) : Tensor());
    });
  }

  int64_t count(int64_t r, int64_t tokens) const { return tokens_of(o_.capacities[static_cast<size_t>(r)], tokens); }

  Tensor by_step(const Tensor& x, const Call& call) const {
    const int64_t tokens = x.dim(1);
    Tensor h = x, before;  // marks of the step before's; undefined: all
    Chosen active;
    double asked = 0, agreed = 0, scored = 0, score_sum = 0, above = 0;
    for (int64_t r = 0; r < o_.recursions; ++r) {
      const std::vector<int64_t> columns(static_cast<size_t>(o_.recursions), 1);
      const Tensor s = split_columns(linear_by_dots(h, routers_->value), columns)[static_cast<size_t>(r)];
      const int64_t taking = count(r, tokens);
      const Chosen asking = std::move(active);
      if (call.pass().phase == Phase::train || o_.capacities[static_cast<size_t>(r)] >= 1) {
        Tensor margin;
        active = chosen_of(top_tokens(among(s, before), taking, &margin));
        show_choice(call.child(step(r)), active, s, margin);
      } else {
        active = chosen_above_zero(s, before, taking);
        show_choice(call.child(step(r)), active, s);
      }
      const Tensor marks = marks_of(active, s);
      const int64_t of = r ? count(r - 1, tokens) : tokens;
      const auto of_asking = [&](const Tensor& t) { return of < tokens ? take_tokens(t, lists_of(asking)) : t; };
      if (call.adds_up()) {
        const Tensor says = of_asking(s.untracked());
        scored += static_cast<double>(says.numel());
        score_sum += sum_over(says, says, [](double z, double) { return z; });
        above += sum_over(says, says, [](double z, double) { return z > 0; });
      }
      if (call.adds_up() && taking < of) {
        const Tensor says = of_asking(s), want = of_asking(marks);
        call.loss(kCausalLoss, logistic_loss(says, want),
                  o_.causal_weight * static_cast<double>(tokens) / static_cast<double>(of));
        asked += static_cast<double>(says.numel());
        agreed += sum_over(says, want, [](double z, double mark) { return (z > 0) == (mark > 0); });
      }
      h = taken(h, call, r, active, weight_of(s));
      before = marks;
    }
    const auto each = [&](const Metric& metric, double sum, double count) {
      if (count > 0) call.mean(metric, sum / count * static_cast<double>(x.rows()));
    };
    each(kAgreement, agreed, asked);
    each(kMean, score_sum, scored);
    each(kPositive, above, scored);
    return h;
  }

  // g(s); undefined: 1.
  Tensor weight_of(const Tensor& s) const {
    if (o_.weight == "none") return {};
    if (o_.weight == "raw") return s;
    return scale(o_.weight == "tanh" ? pointwise(Pointwise::tanh, s) : sigmoid(s), o_.alpha);
  }

  Tensor by_token(const Tensor& x, const Call& call) const {
    const Routing to = (*depth_)(x, call);
    Tensor h = x;
    double steps = 0;
    for (int64_t r = 0; r < o_.recursions; ++r) {
      Chosen deep(static_cast<size_t>(x.dim(0)));
      for (int64_t b = 0; b < x.dim(0); ++b) {
        std::vector<int64_t>& own = deep[static_cast<size_t>(b)];
        if (x.is_meta()) own.resize(static_cast<size_t>(count(r, x.dim(1))));
        for (int64_t t = 0; !x.is_meta() && t < x.dim(1); ++t)
          if (*to.experts.view<int64_t>().row(b * x.dim(1) + t) >= r) own.push_back(t);
        steps += static_cast<double>(own.size());
      }
      h = taken(h, call, r, deep, {});
    }
    call.mean(kSteps, steps);
    return add(x, multiply_groups(add(h, scale(x, -1)), to.weights));
  }

  // The scores of the marked, minus infinity for the others. Values only.
  static Tensor among(const Tensor& s, const Tensor& marks) {
    if (!marks.defined() || s.is_meta()) return s;
    const Tensor own = s.clone();
    dispatch_float(s.dtype(), [&]<class T>() {
      for (int64_t r = 0; r < s.rows(); ++r)
        if (!(*marks.view<T>().row(r) > 0)) *own.view<T>().row(r) = -std::numeric_limits<T>::infinity();
    });
    return own.untracked();
  }

  MorOptions o_;
  Parameter* routers_ = nullptr;
  std::optional<Router> depth_;
};

constexpr std::string_view kVariants[] = {
    "{recursions: 2, capacities: [0.8, 0.4], weight: raw, alpha: 0.1, mixer: {type: attention, heads: 2, window: 3}, "
    "ffn: none}",
    "{recursions: 2, capacities: [0.8, 0.4], weight: none, alpha: 0.1}",
    "{weight: tanh}",
    "{routing: token, depth_weight: sigmoid}",
    "{routing: token, alpha: 0.1, ffn: rwkv_channel_mix}",
    "{states: shared, mixer: {type: attention, heads: 4, kv_heads: 2, qk_norm: true}}",
    "{routing: token, alpha: 0.1, states: shared, mixer: {type: attention, heads: 2, window: 3}, ffn: none}",
    "{recursions: 2, cross: {type: attention, heads: 2}}"};

}  // namespace

extern constinit const LayerInfo mor = LayerInfo::of<Mor>({
    .name = "mor",
    .title = "Mixture-of-Recursions",
    .family = "block",
    .recurrence = "that of its mixer",
    .paper = "Bae et al. 2025, arXiv:2507.10524",
    .source = "raymin0223/mixture_of_recursions@82c97f2, expert_choice_router.py; @aef56f7, token_choice_router.py",
    .deviations =
        "what a step adds is g f(h), there g (h + f(h)), which counts the residual twice; ceil(capacity T) tokens, "
        "there "
        "floor; the code has no inference: the rule here is what its auxiliary loss trains; token choice is "
        "x + p (h - x), there x + p h, which counts what the token was 1 + p times; weight: none is its `gating` other "
        "than weighted; no warm-up of "
        "capacities, no z-loss of a single logit, no temperature; the balance loss of token choice takes the shares of "
        "the batch before and, with depth_weight: sigmoid, scores that are divided by their sum; any mixer, and a "
        "channel mixer or none; start N(0, 0.02); `describe` "
        "counts "
        "token choice as capacities",
    .waivers = {.causal =
                    "the tokens of a step are multiplied together, and how many there are decides in which order a "
                    "product adds up",
                .training = "training chooses the largest scores of a whole sequence",
                .costs = "where tokens choose their number of steps, it is theirs"},
    .unseen = "what its mixer meets",
    .needs = "{mixer: {type: attention}, ffn: {type: swiglu}}",
    .tiny = "{recursions: 3, alpha: 1, mixer: min_gru, ffn: mlp}",
    .period = 3,
    .variants = kVariants,
});

}  // namespace effllm::blocks
