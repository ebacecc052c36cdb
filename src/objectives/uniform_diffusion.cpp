// Diffusion whose noise is tokens of the vocabulary, alone (UDLM: Schiff et al. 2024, arXiv:2412.10193) or beside MASK
// (GIDD: von Ruette et al. 2025, arXiv:2503.04482): what the model sees may be wrong anywhere, and all of it is
// predicted. At time t a token x has become z of q_t(z | x) (CorruptionSchedule), and the loss in continuous time is
//   w (KL(q_t(. | x) || q_t(. | s)) + r - log r - 1),  r = q_t(z | x) / q_t(z | s),  w = rate into z / q_t(z | x),
// s what the model predicts. Its integral over t is a bound of -log p: at t = 0 nothing is noise, and at t = 1 all is,
// whatever the text was, so that nothing is left out at either end. The model is not told t.
//
// The integral is estimated by one time for each row, spread evenly over u, t = u^2 or u^4 (CorruptionSchedule::time):
// without bias, as with times spread over t, but with a finite variance. Evaluation takes the mean of several.
#include "objectives/corruption.h"
#include "objectives/spread.h"
#include "ops/corruption_loss.h"

namespace effllm::objectives {
namespace {

struct UniformDiffusionOptions final : Options {
  double p_uniform = 1;
  void visit(OptionVisitor& v) override {
    v("p_uniform", p_uniform,
      "Sets the share of a row's tokens that are random ones half of the way, where it is largest; the rest of the "
      "noise is MASK, as all of it is at the end; 1: there is no MASK at all.",
      between(0.001, 1));
  }
};

struct Noise {
  CorruptionSchedule::Time time;
  RandomStream token, which;
};

class UniformDiffusion final : public Objective {
 public:
  using Options = UniformDiffusionOptions;
  explicit UniformDiffusion(const Options& o) : p_uniform_(o.p_uniform), schedule_(o.p_uniform) {}
  bool causal() const override { return false; }
  bool bound() const override { return true; }
  bool any_order() const override { return false; }
  std::optional<double> uniform() const override { return p_uniform_; }
  std::string_view bound_of() const override {
    return "the evidence lower bound of the diffusion in continuous time, of times drawn more often where losses are "
           "large";
  }
  int64_t extra_ids() const override { return schedule_.masks() ? 1 : 0; }
  int64_t lookahead() const override { return 0; }
  void cut(const Stretch& s, Batch& batch) const override { cut_ahead(s, 0, batch); }

  // Noise is a function of seed, step and sample; times are spread evenly over the batch.
  Tensor loss(const LanguageModel& model, const BatchRows& rows, double weight, const Context& cx,
              State* state) const override {
    require(!state, "uniform_diffusion: a row is seen as a whole, and goes on from no state");
    const int64_t count = rows.inputs.dim(0);
    const auto step = static_cast<uint64_t>(cx.step);
    const BatchSpread times("uniform_diffusion.time", rows, cx);
    std::vector<Noise> noise;
    for (int64_t b = 0; b < count; ++b) {
      const auto sample = static_cast<uint64_t>(cx.samples[b]);
      noise.push_back({schedule_.time(times(b)),
                       {cx.seed, "uniform_diffusion.token", step, sample},
                       {cx.seed, "uniform_diffusion.which", step, sample}});
    }
    const auto [seen, terms] = corrupted(model, rows, noise, weight);
    const Tensor logits = model.logits(seen, with_documents(cx, rows));
    return corruption_loss(logits, rows.targets, seen, terms);
  }

  std::vector<RowScore> score(const LanguageModel& model, const BatchRows& rows, const Scoring& how) const override {
    require(!how.state && !how.left_to_right && !how.each_alone,
            "uniform_diffusion: a row is seen as a whole, and its tokens have no order");
    const int64_t count = rows.inputs.dim(0), tokens = rows.inputs.dim(1);
    MeanOfDraws mean(count);
    for (int64_t k = 0; k < (rows.inputs.is_meta() ? 1 : how.samples); ++k) {
      std::vector<Noise> noise;
      for (int64_t b = 0; b < count; ++b) {
        const auto row = static_cast<uint64_t>(how.first + b), draw = static_cast<uint64_t>(k);
        noise.push_back({schedule_.time(spread_over_draws("uniform_diffusion.time", how, how.first + b, k)),
                         {how.seed, "uniform_diffusion.eval_token", row, draw},
                         {how.seed, "uniform_diffusion.eval_which", row, draw}});
      }
      const auto [seen, terms] = corrupted(model, rows, noise, 1);
      const Tensor logits = model.logits(seen, with_documents({}, rows));
      std::vector<double> nats;
      for (int64_t b = 0; b < count; ++b) {
        const Tensor sum =
            corruption_loss(logits.row_range(b * tokens, {tokens, model.vocab()}), rows.targets.row_range(b, {tokens}),
                            seen.row_range(b, {tokens}), terms.row_range(b * tokens, {tokens, 3}));
        nats.push_back(sum.is_meta() ? 0 : *sum.data<double>());
      }
      mean.add(nats);
    }
    return mean.scores();
  }

 private:
  // What the tokens that count have become, and keep, noise and w of each, times `weight`.
  struct Corrupted {
    Tensor seen, terms;
  };
  Corrupted corrupted(const LanguageModel& model, const BatchRows& rows, const std::vector<Noise>& noise,
                      double weight) const {
    const int64_t tokens = rows.inputs.dim(1), vocab = model.vocab();
    Corrupted c{Tensor::dense(rows.inputs.shape(), DType::i32), Tensor::dense({rows.inputs.numel(), 3}, DType::f64)};
    for (int64_t i = 0; !c.seen.is_meta() && i < c.seen.numel(); ++i) {
      const Noise& n = noise[static_cast<size_t>(i / tokens)];
      const int32_t x = rows.inputs.data<int32_t>()[i];
      int32_t& z = c.seen.data<int32_t>()[i];
      double* term = c.terms.data<double>() + 3 * i;
      z = x;
      term[0] = term[1] = term[2] = 0;
      if (rows.targets.data<int32_t>()[i] == kIgnoredTarget) continue;
      const Corruption at = schedule_.at(n.time.t);
      const auto place = static_cast<uint64_t>(i % tokens);
      z = at.draw(x, vocab, n.token.uniform(place), n.which.below(place, static_cast<uint64_t>(vocab)));
      const std::array<double, 3> of = at.terms(x, z, vocab);
      term[0] = of[0];
      term[1] = of[1];
      term[2] = weight * n.time.slope * of[2];
    }
    return c;
  }

  const double p_uniform_;
  const CorruptionSchedule schedule_;
};

}  // namespace

extern constinit const ObjectiveInfo uniform_diffusion = ObjectiveInfo::of<UniformDiffusion>({
    .name = "uniform_diffusion",
    .title = "all tokens from a text some of which random ones have replaced, or MASK too (diffusion)",
    .paper = "Schiff et al. 2024, arXiv:2412.10193; p_uniform below 1: von Ruette et al. 2025, arXiv:2503.04482",
    .source = "kuleshov-group/discrete-diffusion-guidance@edb0f8c, diffusion.py; dvruette/gidd@f67acc9, "
              "gidd/diffusion_process.py, gidd/loss.py",
    .deviations =
        "times are u^2 or u^4 of evenly spread u, weighed by dt / du, where both codes spread t itself over (0.001, 1] "
        "or (0.0001, 0.9999), UDLM's from 0 on, where a row's place in the batch tells its time; weights are those of "
        "the bound, where GIDD's training clips them; UDLM's code adds a "
        "reconstruction at its least time, and corrupts a thousandth less than its loss says; neither the model nor "
        "its norms are told the time, as UDLM's are not by default",
});

}  // namespace effllm::objectives
