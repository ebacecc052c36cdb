// Span corruption (T5: Raffel et al. 2020, arXiv:1910.10683, section 3.1.4): spans of a text are taken out, an encoder
// reads the rest, and the decoder writes what is missing, span by span.
//
//   text      a b [c d] e f g [h] i ...           [ ]: spans, of n of T tokens, k in number
//   encoder   a b S0 e f g S1 i ...
//   decoder   S0 c d S1 h ... Sk                  S0 S1 ...: sentinels, ids from the vocabulary's end on
//
// Which spans is a number of (seed, step, sample) in training; in evaluation of the place of a row in its text, so that
// all models are scored on the same. The loss is that of all the decoder writes, over the n tokens: nats for each
// token that is missing, the ends of spans included, given the rest. It is no likelihood of a text.
#include "objectives/corrupted_spans.h"
#include "objectives/two_parts.h"

namespace effllm::objectives {
namespace {

struct SpanCorruptionOptions final : Options {
  double rate = 0.15, mean_span = 3;
  int64_t sentinels = 100;
  void visit(OptionVisitor& v) override {
    v("rate", rate, "Sets the share of a row's tokens that are taken out, at least one of them and not all.",
      between(0, 1));
    v("mean_span", mean_span, "Sets the mean length of a span, in tokens.", between(1, kMostTokens));
    v("sentinels", sentinels, "Sets the ids that stand for spans, two more than a row may have spans.",
      between(3, 65536));
  }
};

class SpanCorruption final : public Objective {
 public:
  using Options = SpanCorruptionOptions;
  explicit SpanCorruption(const Options& o) : shape_{o.rate, o.mean_span, o.sentinels, o.mark} {}
  bool given_rest() const override { return true; }
  int64_t extra_ids() const override { return shape_.sentinels; }
  int64_t extra_targets() const override { return shape_.sentinels; }
  int64_t lookahead() const override { return 0; }
  void require_rows(int64_t tokens) const override { shape_.require_sentinels(tokens); }
  std::function<RowParts(int64_t)> parts() const override {
    return [shape = shape_](int64_t tokens) -> RowParts {
      const auto [missing, spans] = shape.counts(tokens);
      return {.encoder = tokens - missing + spans, .decoder = missing + spans + 1};
    };
  }
  TwoParts divided(const BatchRows& rows, int64_t vocab) const override {
    const int64_t tokens = rows.inputs.dim(1);
    return shape_.taken_out(rows.inputs, vocab, [&](int64_t b) {
      std::vector<bool> missing;
      for (int64_t t = 0; t < tokens; ++t)
        missing.push_back(rows.targets.data<int32_t>()[b * tokens + t] != kIgnoredTarget);
      return missing;
    });
  }
  // Targets that count are the tokens of a row: all of them in training, which takes spans out later, and those that
  // are taken out in evaluation, wherever in the row they stand.
  void cut(const Stretch& s, Batch& batch) const override {
    cut_ahead(s, 0, batch);
    if (s.training) return;
    const int64_t tokens = s.end - s.begin;
    const std::vector<bool> missing = shape_.drawn(
        tokens, {0, "span_corruption.noise", static_cast<uint64_t>(s.begin), static_cast<uint64_t>(tokens)},
        {0, "span_corruption.kept", static_cast<uint64_t>(s.begin), static_cast<uint64_t>(tokens)});
    for (int64_t t = 0; t < tokens; ++t)
      batch.targets.end()[t - tokens] =
          missing[static_cast<size_t>(t)] ? s.text[static_cast<size_t>(s.begin + t)] : kIgnoredTarget;
  }

  Tensor loss(const LanguageModel& model, const BatchRows& rows, double weight, const Context& cx,
              State* state) const override {
    require(!state, "span_corruption: a row begins with an encoder, and goes on from no state");
    const int64_t tokens = rows.inputs.dim(1);
    const auto step = static_cast<uint64_t>(cx.step);
    const TwoParts row = shape_.taken_out(rows.inputs, model.vocab(), [&](int64_t b) {
      const auto sample = static_cast<uint64_t>(cx.samples[b]);
      return shape_.drawn(tokens, {cx.seed, "span_corruption.noise", step, sample},
                          {cx.seed, "span_corruption.kept", step, sample});
    });
    const double over = static_cast<double>(tokens) / static_cast<double>(shape_.counts(tokens).missing);
    return model.loss(row.inputs, row.targets, weight * over, with_encoded(model, row, cx, tokens), nullptr);
  }

  std::vector<RowScore> score(const LanguageModel& model, const BatchRows& rows, const Scoring& how) const override {
    return score_parts(model, divided(rows, model.vocab()), how, context_of(how), rows.inputs.dim(1));
  }

 private:
  const CorruptedSpans shape_;
};

}  // namespace

extern constinit const ObjectiveInfo span_corruption = ObjectiveInfo::of<SpanCorruption>({
    .name = "span_corruption",
    .title = "spans that are missing from what an encoder reads, and where they end",
    .paper = "Raffel et al. 2020, arXiv:1910.10683",
    .source = "google-research/text-to-text-transfer-transformer@e081111, t5/data/preprocessors.py, "
              "random_spans_noise_mask, noise_span_to_unique_sentinel",
    .deviations =
        "a row is train.context tokens of the text, there as many as fill the encoder; sentinels are numbered upwards "
        "from the vocabulary's end, there downwards from its last id; one more sentinel ends the decoder's text, as in "
        "the paper's figure 2, where the code has an end token; the decoder starts with the last sentinel, there with "
        "a pad token; the loss is divided by the tokens that are missing, there by these and the sentinels",
});

}  // namespace effllm::objectives
