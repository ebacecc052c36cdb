// Masked diffusion (MDLM: Sahoo et al. 2024, arXiv:2406.07524; LLaDA: Nie et al. 2025, arXiv:2502.09992): a model that
// sees a text with some of its tokens masked predicts those. At time t, uniform in (0, 1), each token is masked with
// probability t; the loss is sum -log p / t over the masked tokens, in the mean a bound of -log p of the whole text.
// A token that is seen is known, MASK is never predicted, and the model is not told t.
//
// Evaluation estimates the mean of -log p over all orders of the tokens (HiddenScore), which bounds -log p of the
// mixture of them.
#include <algorithm>

#include "base/random.h"
#include "objectives/hidden_tokens.h"
#include "objectives/spread.h"

namespace effllm::objectives {
namespace {

struct MaskedDiffusionOptions final : Options {
  double eps = 0;
  void visit(OptionVisitor& v) override {
    v("eps", eps,
      "Sets the least part of tokens that training masks: eps + (1 - eps) t at time t; above 0 the loss is no bound "
      "(LLaDA: 1e-3).",
      between(0, 0.5));
  }
};

class MaskedDiffusion final : public Objective {
 public:
  using Options = MaskedDiffusionOptions;
  explicit MaskedDiffusion(const Options& o) : eps_(o.eps) {}
  bool causal() const override { return false; }
  bool bound() const override { return true; }
  bool trains_score() const override { return eps_ == 0; }
  int64_t extra_ids() const override { return 1; }
  int64_t lookahead() const override { return 0; }
  void cut(const Stretch& s, Batch& batch) const override { cut_ahead(s, 0, batch); }

  // Noise is a function of seed, step and sample; times are spread evenly over the batch.
  Tensor loss(const LanguageModel& model, const BatchRows& rows, double weight, const Context& cx,
              State* state) const override {
    require(!state, "masked_diffusion: a row is seen as a whole, and goes on from no state");
    const int64_t count = rows.inputs.dim(0), tokens = rows.inputs.dim(1);
    const auto step = static_cast<uint64_t>(cx.step);
    const BatchSpread times("masked_diffusion.time", rows, cx);
    std::vector<double> rates;
    std::vector<RandomStream> noise;
    const Tensor weights = Tensor::dense({count, tokens}, DType::f64);
    for (int64_t b = 0; b < count; ++b) {
      rates.push_back(eps_ + (1 - eps_) * times(b));
      noise.emplace_back(cx.seed, "masked_diffusion.mask", step, static_cast<uint64_t>(cx.samples[b]));
      if (!weights.is_meta()) std::fill_n(weights.data<double>() + b * tokens, tokens, 1 / rates.back());
    }
    const BatchRows seen = hidden(rows, model.vocab(), [&](int64_t b, int64_t t) {
      const auto row = static_cast<size_t>(b);
      return noise[row].uniform(static_cast<uint64_t>(t)) < rates[row] ? Hide::counts : Hide::no;
    });
    const Tensor x = model.body(seen.inputs, with_documents(cx, rows), nullptr);
    return model.head_loss(x, seen.targets, weight, 0, weights).loss;
  }

  std::vector<RowScore> score(const LanguageModel& model, const BatchRows& rows, const Scoring& how) const override {
    return HiddenScore("masked_diffusion", rows, model.vocab(), nats_of(model))(how);
  }

 private:
  const double eps_;
};

}  // namespace

extern constinit const ObjectiveInfo masked_diffusion = ObjectiveInfo::of<MaskedDiffusion>({
    .name = "masked_diffusion",
    .title = "masked tokens from all that are seen, any part of them masked (diffusion)",
    .paper = "Sahoo et al. 2024, arXiv:2406.07524; Nie et al. 2025, arXiv:2502.09992",
    .source = "kuleshov-group/mdlm@c112c52, diffusion.py (times, loss); ML-GSAI/LLaDA@b7e6c35, GUIDELINES.md (eps), "
              "get_log_likelihood.py (the bound)",
    .deviations =
        "eps is 0, where both codes train with 1e-3, since without it the loss is a bound in the mean; MDLM's code "
        "also leaves a thousandth of the tokens seen at t = 1, and LLaDA's cuts a hundredth of its batches to a random "
        "length; times of a batch are spread from a start that each step draws, there from 0, where a row's place "
        "tells its time; the model is any of effllm's, where MDLM's is a DiT; numbers of masked tokens are spread over "
        "rows "
        "and draws by the golden ratio, where LLaDA's code spreads the draws of one row, rounded",
});

}  // namespace effllm::objectives
