// Prefix language modelling with an encoder (Raffel et al. 2020, arXiv:1910.10683, section 3.3.1): the encoder reads
// the first part of a row, the decoder predicts the rest from left to right.
//
//   sum_{i >= p} -log p(x_i | x_0 ... x_{i-1}),   x_0 ... x_{p-1} read from both sides
//
// A likelihood like any other from left to right: with sliding windows of T tokens and a stride of T - p + 1 it is that
// of the tokens that a decoder alone is scored on, from no less context. The decoder's first input is the last token of
// the prefix.
#include <algorithm>
#include <cmath>

#include "base/random.h"
#include "objectives/two_parts.h"

namespace effllm::objectives {
namespace {

struct Seq2seqOptions final : Options {
  double prefix = 0.5;
  std::string split = "fixed";
  void visit(OptionVisitor& v) override {
    v("prefix", prefix,
      "Sets the share of a row that the encoder reads, at least one token; the rest, at least one, is predicted.",
      between(0, 1));
    v("split", split,
      "Lets training cut every row there, or each at a place of its own, uniform from one token for the encoder to all "
      "but one (T5's); evaluation always cuts at `prefix`.",
      {"fixed", "random"});
  }
};

// A row is cut after 1 to T - 1 of its T inputs, so that the encoder has a token to read, and the decoder one to begin
// with and another that nobody else reads; a row of one input goes to both.
class Seq2seq final : public Objective {
 public:
  using Options = Seq2seqOptions;
  explicit Seq2seq(const Options& o) : prefix_(o.prefix), random_(o.split == "random") {}
  std::function<RowParts(int64_t)> parts() const override {
    return [prefix = prefix_, random = random_](int64_t tokens) -> RowParts {
      if (random) return {.encoder = longest(tokens), .decoder = tokens};
      return {.encoder = split(prefix, tokens), .decoder = tokens - split(prefix, tokens) + 1};
    };
  }
  TwoParts divided(const BatchRows& rows, int64_t) const override {
    return cut_at(rows, split(prefix_, rows.inputs.dim(1)));
  }
  void cut(const Stretch& s, Batch& batch) const override {
    Objective::cut(s, batch);
    const int64_t tokens = s.end - s.begin;
    if (!s.training || !random_) std::fill_n(batch.targets.end() - tokens, split(prefix_, tokens) - 1, kIgnoredTarget);
  }

  Tensor loss(const LanguageModel& model, const BatchRows& rows, double weight, const Context& cx,
              State* state) const override {
    require(!state, "seq2seq: a row begins with an encoder, and goes on from no state");
    const int64_t tokens = rows.inputs.dim(1);
    if (!random_) {
      const TwoParts row = cut_at(rows, split(prefix_, tokens));
      return model.loss(row.inputs, row.targets, weight, with_encoded(model, row, cx, tokens), nullptr);
    }
    Tensor weights;
    const TwoParts row = cut_at_random(rows, cx, weights);
    const Tensor x = model.body(row.inputs, with_encoded(model, row, cx, tokens), nullptr);
    return model.head_loss(x, row.targets, weight, 0, weights).loss;
  }

  std::vector<RowScore> score(const LanguageModel& model, const BatchRows& rows, const Scoring& how) const override {
    return score_parts(model, divided(rows, model.vocab()), how, context_of(how), rows.inputs.dim(1));
  }

 private:
  static int64_t longest(int64_t tokens) { return std::max<int64_t>(1, tokens - 1); }
  static int64_t split(double prefix, int64_t tokens) {
    const auto p = static_cast<int64_t>(std::nearbyint(prefix * static_cast<double>(tokens)));
    return std::clamp<int64_t>(p, 1, longest(tokens));
  }
  static TwoParts cut_at(const BatchRows& rows, int64_t p) {
    const int64_t tokens = rows.inputs.dim(1);
    return {.read = columns_of(rows.inputs, 0, p),
            .inputs = columns_of(rows.inputs, p - 1, tokens),
            .targets = columns_of(rows.targets, p - 1, tokens)};
  }
  // Each row at a place of its own; what is behind its parts is token 0 without a target. `weights` f64 [B, T]: each
  // row counts alike, however many targets it has.
  TwoParts cut_at_random(const BatchRows& rows, const Context& cx, Tensor& weights) const {
    const int64_t count = rows.inputs.dim(0), tokens = rows.inputs.dim(1), most = longest(tokens);
    TwoParts out{.read = Tensor::dense({count, most}, DType::i32),
                 .lengths = Tensor::dense({count}, DType::i64),
                 .inputs = Tensor::dense({count, tokens}, DType::i32),
                 .targets = Tensor::dense({count, tokens}, DType::i32)};
    weights = Tensor::dense({count, tokens}, DType::f64);
    for (int64_t b = 0; !rows.inputs.is_meta() && b < count; ++b) {
      const RandomStream numbers(cx.seed, "seq2seq.split", static_cast<uint64_t>(cx.step),
                                 static_cast<uint64_t>(cx.samples[b]));
      const auto p = 1 + static_cast<int64_t>(numbers.below(0, static_cast<uint64_t>(most)));
      const int32_t *in = rows.inputs.data<int32_t>() + b * tokens, *to = rows.targets.data<int32_t>() + b * tokens;
      out.lengths.data<int64_t>()[b] = p;
      for (int64_t t = 0; t < most; ++t) out.read.data<int32_t>()[b * most + t] = t < p ? in[t] : 0;
      for (int64_t t = 0; t < tokens; ++t) {
        const int64_t from = p - 1 + t;
        out.inputs.data<int32_t>()[b * tokens + t] = from < tokens ? in[from] : 0;
        out.targets.data<int32_t>()[b * tokens + t] = from < tokens ? to[from] : kIgnoredTarget;
        weights.data<double>()[b * tokens + t] = static_cast<double>(tokens) / static_cast<double>(tokens - p + 1);
      }
    }
    return out;
  }

  const double prefix_;
  const bool random_;
};

}  // namespace

extern constinit const ObjectiveInfo seq2seq = ObjectiveInfo::of<Seq2seq>({
    .name = "seq2seq",
    .title = "cross-entropy of the rest of a row, of which an encoder reads the first part",
    .paper = "Raffel et al. 2020, arXiv:1910.10683",
    .source = "google-research/text-to-text-transfer-transformer@e081111, t5/data/preprocessors.py, prefix_lm, "
              "random_prefix_noise_mask",
    .deviations =
        "rows are of train.context tokens with both parts, and follow each other in a text; the decoder begins with "
        "the "
        "last token of the prefix, there with a pad token, and no token ends it; one place for all rows by default; "
        "with "
        "split: random each row's mean counts alike, there each target, and encoder and decoder have room for a whole "
        "row: layers that choose among the tokens of a row then choose among those behind its parts too",
});

}  // namespace effllm::objectives
