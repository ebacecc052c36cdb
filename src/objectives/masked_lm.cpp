// Masked language modelling (BERT: Devlin et al. 2018, arXiv:1810.04805): of each row's tokens a share is predicted
// from all others. What stands in the place of those is MASK, a random token or, so that the model reads what it sees,
// the token itself. The loss is the mean of -log p over them: of no text's likelihood.
//
// Evaluation hides tokens by MASK alone and estimates the mean of -log p over all orders of them (HiddenScore), a bound
// for whatever model gives the conditionals, however it was trained: it compares with that of masked_diffusion, and is
// loose where training has hidden few tokens at a time. What a token costs given all others, the pseudo-likelihood,
// bounds nothing; it is asked for by name.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include "base/random.h"

#include "objectives/hidden_tokens.h"

namespace effllm::objectives {
namespace {

struct MaskedLmOptions final : Options {
  double rate = 0.15, mask_share = 0.8, random_share = 0.1;
  void visit(OptionVisitor& v) override {
    v("rate", rate, "Sets the share of a row's tokens that training predicts, at least one of them.", between(0, 1));
    v("mask_share", mask_share, "Sets the share of those that MASK stands for.", between(0, 1));
    v("random_share", random_share,
      "Sets the share of those that a random token stands for; the model sees what is left as it is.", between(0, 1));
  }
};

class MaskedLm final : public Objective {
 public:
  using Options = MaskedLmOptions;
  explicit MaskedLm(const Options& o) : rate_(o.rate), mask_(o.mask_share), random_(o.random_share) {
    if (mask_ + random_ > 1)
      throw_at(o.mark, fmt::format("objective.mask_share {} and random_share {} are more than 1", mask_, random_));
  }
  bool causal() const override { return false; }
  bool bound() const override { return true; }
  bool trains_score() const override { return false; }
  int64_t extra_ids() const override { return 1; }
  int64_t lookahead() const override { return 0; }
  void cut(const Stretch& s, Batch& batch) const override { cut_ahead(s, 0, batch); }

  // What is predicted, and what is seen of it, is a function of seed, step and sample. A predicted token weighs as many
  // times as it is one of the row's that count, so that their mean is the mean over what is predicted.
  Tensor loss(const LanguageModel& model, const BatchRows& rows, double weight, const Context& cx,
              State* state) const override {
    require(!state, "masked_lm: a row is seen as a whole, and goes on from no state");
    const int64_t tokens = rows.inputs.dim(1);
    const Tensor weights = Tensor::dense(rows.inputs.shape(), DType::f64);
    if (!weights.is_meta()) std::fill_n(weights.data<double>(), weights.numel(), 0.0);
    const BatchRows seen = hidden(rows, model.vocab(), [](int64_t, int64_t) { return Hide::no; });
    auto places = counted_places(rows);
    for (size_t b = 0; b < places.size(); ++b) {
      const auto length = static_cast<int64_t>(places[b].size());
      if (length == 0) continue;
      const auto step = static_cast<uint64_t>(cx.step),
                 sample = static_cast<uint64_t>(cx.samples[static_cast<int64_t>(b)]);
      const auto predicted =
          std::max<int64_t>(1, static_cast<int64_t>(std::nearbyint(static_cast<double>(length) * rate_)));
      draw_first(places[b], predicted, {cx.seed, "masked_lm.predicted", step, sample});
      const RandomStream how(cx.seed, "masked_lm.how", step, sample), token(cx.seed, "masked_lm.token", step, sample);
      for (int64_t i = 0; i < predicted; ++i) {
        const int64_t place = places[b][static_cast<size_t>(i)], at = static_cast<int64_t>(b) * tokens + place;
        const double v = how.uniform(static_cast<uint64_t>(place));
        int32_t& id = seen.inputs.data<int32_t>()[at];
        if (v < mask_)
          id = static_cast<int32_t>(model.vocab());
        else if (v < mask_ + random_)
          id = static_cast<int32_t>(token.below(static_cast<uint64_t>(place), static_cast<uint64_t>(model.vocab())));
        seen.targets.data<int32_t>()[at] = rows.targets.data<int32_t>()[at];
        weights.data<double>()[at] = static_cast<double>(length) / static_cast<double>(predicted);
      }
    }
    const Tensor x = model.body(seen.inputs, with_documents(cx, rows), nullptr);
    return model.head_loss(x, seen.targets, weight, 0, weights).loss;
  }

  std::vector<RowScore> score(const LanguageModel& model, const BatchRows& rows, const Scoring& how) const override {
    return HiddenScore("masked_lm", rows, model.vocab(), nats_of(model))(how);
  }

 private:
  const double rate_, mask_, random_;
};

}  // namespace

extern constinit const ObjectiveInfo masked_lm = ObjectiveInfo::of<MaskedLm>({
    .name = "masked_lm",
    .title = "a share of the tokens, most of them masked, from all others (BERT)",
    .paper = "Devlin et al. 2018, arXiv:1810.04805",
    .source = "google-research/bert@eedf571, create_pretraining_data.py, create_masked_lm_predictions",
    .deviations =
        "what is predicted is drawn anew at each step, as RoBERTa does, where BERT's data hold ten draws; no second "
        "sentence, no CLS and SEP, no words hidden as a whole, no most number of predictions a row; rows weigh alike, "
        "where there each predicted token does; the code's score is the accuracy of what is hidden",
});

}  // namespace effllm::objectives
