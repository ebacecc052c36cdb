// Mixture of experts in which every expert chooses its tokens, so that all do the same work.
//
//   s = softmax(W_r x);  in training expert e takes of a sequence the C = ceil(T factor / E) tokens with the largest
//   s_e y = sum over the experts that took x of s_e f_e(x), zero if none did
//
// With noops some of the E do nothing: what they take passes by on the residual stream (integrated MoDE, Raposo et al.
// 2024, arXiv:2404.02258).
// That looks ahead: which tokens are best is known at the end. Evaluation and decoding have a causal form, in which an
// expert takes every token whose score is above its threshold, the running mean of the border between what it took and
// what it left in training. Remembers nothing. Zhou et al. 2022, arXiv:2202.09368; thresholds: Sun et al. 2026,
// arXiv:2603.11535.
#include <fmt/format.h>

#include <algorithm>

#include "cores/route/choose.h"
#include "cores/route/choose_tokens.h"
#include "ffn/experts.h"
#include "ffn/ffn.h"
#include "ffn/routing_measures.h"
#include "ops/columns.h"
#include "ops/linear.h"
#include "ops/softmax.h"

namespace effllm::ffns {
namespace {

constexpr Metric kAgreement{"agreement", "1", "choices that training and causal form both make, of those of either"},
    kCausalChosen{"causal_chosen", "1", "mean number of experts of a token by the causal form"},
    kUntouched{"untouched", "1", "share of tokens that no expert took in training"};

struct ExpertChoiceOptions final : ExpertOptions {
  int64_t experts = 8, noops = 0;
  double factor = 2, threshold_decay = 0.9;
  void visit(OptionVisitor& v) override {
    v("experts", experts, "Sets the number of experts.", between(1, 65536));
    v("noops", noops,
      "Adds experts, so many, that do nothing: a token that they score high is left to the residual stream.",
      between(0, 65536));
    v("factor", factor, "Sets how many experts a token gets on average, some none and some many.",
      between(0.001, 65536));
    v("threshold_decay", threshold_decay,
      "Sets how much of a threshold stays in a step; the rest is the border between tokens taken and left in it.",
      between(0, 0.999999));
    ExpertOptions::visit(v);
  }
};

// sums: of each expert, and the tokens that they are of.
ModelBuffer::Rule running_mean(double decay) {
  return [decay](std::span<double> mean, std::span<const double> sums) {
    for (size_t e = 0; e < mean.size(); ++e) mean[e] += (1 - decay) * (sums[e] / sums.back() - mean[e]);
  };
}

class ExpertChoice final : public Layer {
 public:
  using Options = ExpertChoiceOptions;

  ExpertChoice(const Options& o, const LayerArgs& args, const Scope& s)
      : experts_count_(o.experts),
        share_(share_of(o)),
        weight_(&s.param("router.weight", {all_of(o), args.d_model}, Init::normal(0.02),
                         {.role = Role::hidden, .matrices = {all_of(o)}})),
        threshold_(&s.buffer("router.threshold", o.experts, 1 / static_cast<double>(all_of(o)),
                             running_mean(o.threshold_decay))),
        experts_(o, args.d_model, o.experts, share_ * static_cast<double>(o.experts), s / "experts") {}

  bool trains_otherwise() const override { return true; }

 protected:
  Tensor run(const Tensor& x, const Call& call) const override {
    const Tensor of_all = softmax(linear_by_dots(x, weight_->value));
    const int64_t noops = of_all.cols() - experts_count_;
    const Tensor score = noops > 0 ? split_columns(of_all, {experts_count_, noops})[0] : of_all;
    if (call.pass().phase == Phase::infer && call.pass().direction == Direction::causal) {
      Tensor margin;
      const Tensor experts = above_threshold(score, call.pass().taps ? &margin : nullptr);
      if (margin.defined()) call.tap_choice(in_order(experts), margin);
      return experts_(x, experts, scores_of(score, experts));
    }
    const ChosenTokens chosen = choose_tokens(score, share_, call.segments());
    const Tensor& experts = chosen.experts;
    if (call.pass().taps)  // nothing compares this form with another
      call.tap_choice(in_order(experts), Tensor::zeros(experts.shape().with(2, 1), score.dtype()));
    if (call.adds_up()) add_up(score, chosen, call);
    // How many there are of documents hangs on these.
    const int64_t known = call.segments().defined() ? 0 : x.dim(0) * experts.cols() * most_of(x.dim(1), share_);
    return experts_(x, experts, scores_of(score, experts), known);
  }

 private:
  static int64_t all_of(const Options& o) { return o.experts + o.noops; }
  static double share_of(const Options& o) {
    if (o.factor > static_cast<double>(all_of(o)))
      throw_at(o.mark,
               fmt::format("factor is {}, but there are {} experts that a token may have", o.factor, all_of(o)));
    return o.factor / static_cast<double>(all_of(o));
  }

  Tensor above_threshold(const Tensor& score, Tensor* margin = nullptr) const {
    const Tensor bias = Tensor::dense({score.cols()}, score.dtype());
    if (!bias.is_meta())
      dispatch_float(bias.dtype(), [&]<class T>() {
        for (int64_t e = 0; e < score.cols(); ++e) bias.data<T>()[e] = -threshold_->value.data<T>()[e];
      });
    return choose_experts(score, bias, {.by = ChooseBy::positive}, margin);
  }

  void add_up(const Tensor& score, const ChosenTokens& chosen, const Call& call) const {
    const int64_t count = score.cols();
    std::vector<double> border(static_cast<size_t>(count + 1));
    if (!chosen.border.is_meta()) std::copy_n(chosen.border.data<double>(), count, border.begin());
    border.back() = static_cast<double>(score.rows());
    call.statistic(*threshold_, border);
    call.mean(kEntropy, entropy(score));
    const Tensor causal = above_threshold(score);
    const std::vector<double> times = times_chosen(causal, count);
    add_loads(times, call);
    call.mean(kCausalChosen, total(times));
    call.mean(kUntouched, static_cast<double>(without_choice(chosen.experts)));
    call.whole(kAgreement, in_common(chosen.experts, causal), [](std::span<const double> both_and_either) {
      return both_and_either[1] > 0 ? both_and_either[0] / both_and_either[1] : 1.0;
    });
  }

  int64_t experts_count_;
  double share_;
  Parameter* weight_;
  ModelBuffer* threshold_;
  Experts experts_;
};

constexpr std::string_view kVariants[] = {"{experts: 3, factor: 1, activation: gelu}", "{experts: 2, factor: 2}",
                                          "{experts: 3, noops: 2, factor: 2.5}"};

}  // namespace

extern constinit const LayerInfo moe_expert_choice = LayerInfo::of<ExpertChoice>({
    .name = "moe_expert_choice",
    .title = "Mixture of experts that choose their tokens",
    .family = "channel mixer",
    .recurrence = "none",
    .paper = "Zhou et al. 2022, arXiv:2202.09368; thresholds: Sun et al. 2026, arXiv:2603.11535; noops: Raposo et al. "
             "2024, arXiv:2404.02258",
    .source = "google-research/vmoe@942a78b, vmoe/nn/routing.py (NoisyTopItemsPerExpertRouter, without its noise)",
    .deviations =
        "an expert chooses among the tokens of one document in one call, not of a batch; Zhou et al. have no causal "
        "form: the thresholds are those of Sun et al., who train with them too; here they follow the choices that "
        "training makes, half-way between the last taken and the first left, and their decay is our choice; experts "
        "start N(0, 0.02); Raposo et al. say of noops that they are experts among the others: here in their softmax, "
        "and with their share of the choices, which are not made",
    .waivers = {.causal = "an expert multiplies its tokens together, and how many there are decides in which order "
                          "a product adds up",
                .training =
                    "experts choose among all tokens of a sequence in training, and go by thresholds elsewhere"},
    .tiny = "{experts: 4, factor: 2, expand: 1.5}",
    .variants = kVariants,
});

}  // namespace effllm::ffns
