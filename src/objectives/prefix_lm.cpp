// Prefix language modelling (Raffel et al. 2020, arXiv:1910.10683, section 3.2; Dong et al. 2019, arXiv:1905.03197):
// the first tokens of a row see each other, the others those before them, and the loss is that of the tokens after the
// prefix, each from those before it. A prefix of one token leaves a causal model.
//
// Of T inputs the prefix is 1 .. T, any number as often as another; the targets after it weigh 2 T / (T + 1), for half
// of them are left: a step's loss is theirs, of a token. Evaluation takes for a prefix what a protocol gives as context
// alone, so that every token of a text is scored once: without such (`windows`) the model is causal.
#include <algorithm>

#include "objectives/exit_scores.h"
#include "objectives/spread.h"

namespace effllm::objectives {
namespace {

struct PrefixLmOptions final : Options {
  std::optional<double> prefix;
  void visit(OptionVisitor& v) override {
    v("prefix", prefix,
      "Sets the share of a row's tokens that training takes for the prefix; default: any number of them, drawn for "
      "each row.",
      between(0, 1));
  }
};

// Tokens before the first target that counts, of each row; at least one.
Tensor known(const BatchRows& rows) {
  const int64_t count = rows.inputs.dim(0), tokens = rows.inputs.dim(1);
  const Tensor prefix = Tensor::dense({count}, DType::i64);
  for (int64_t b = 0; b < (prefix.is_meta() ? 0 : count); ++b) {
    const int32_t* t = rows.targets.data<int32_t>() + b * tokens;
    const int64_t first = std::find_if(t, t + tokens, [](int32_t x) { return x != kIgnoredTarget; }) - t;
    prefix.data<int64_t>()[b] = std::min(first + 1, tokens);
  }
  return prefix;
}

class PrefixLm final : public Objective {
 public:
  using Options = PrefixLmOptions;
  explicit PrefixLm(const Options& o) : share_(o.prefix) {}
  bool prefix() const override { return true; }
  std::optional<double> prefix_share() const override { return share_; }

  // The prefix is a function of seed, step and sample; lengths are spread evenly over the batch.
  Tensor loss(const LanguageModel& model, const BatchRows& rows, double weight, const Context& cx,
              State* state) const override {
    require(!state, "prefix_lm: a row begins with its prefix, and goes on from no state");
    const int64_t count = rows.inputs.dim(0), tokens = rows.inputs.dim(1);
    Context with = with_documents(cx, rows);
    with.prefix = Tensor::dense({count}, DType::i64);
    const Tensor weights = Tensor::dense({count, tokens}, DType::f64);
    const BatchSpread lengths("prefix_lm.length", rows, cx);
    for (int64_t b = 0; b < (weights.is_meta() ? 0 : count); ++b) {
      const int64_t n = share_ ? prefix_tokens(*share_, tokens) : length(tokens, lengths(b));
      const double rest = static_cast<double>(share_ ? tokens - n + 1 : tokens + 1) / (share_ ? 1 : 2);
      with.prefix.data<int64_t>()[b] = n;
      double* w = weights.data<double>() + b * tokens;
      std::fill_n(w, n - 1, 0.0);
      std::fill(w + n - 1, w + tokens, static_cast<double>(tokens) / rest);
    }
    return model.head_loss(model.body(rows.inputs, with, nullptr), rows.targets, weight, 0, weights).loss;
  }

  std::vector<RowScore> score(const LanguageModel& model, const BatchRows& rows, const Scoring& how) const override {
    require(!how.state, "prefix_lm: a row begins with its prefix, and goes on from no state");
    Context cx = context_of(how);
    cx.prefix = known(rows);
    if (how.by_exit) return score_exits(model, rows, how, cx);
    return scores_of_rows(model.logits(rows.inputs, with_documents(cx, rows)), rows, how);
  }

 private:
  static int64_t length(int64_t tokens, double u) {
    return 1 + std::min(tokens - 1, static_cast<int64_t>(u * static_cast<double>(tokens)));
  }

  const std::optional<double> share_;
};

}  // namespace

extern constinit const ObjectiveInfo prefix_lm = ObjectiveInfo::of<PrefixLm>({
    .name = "prefix_lm",
    .title = "cross-entropy of the next token after a prefix, whose tokens see each other",
    .paper = "Raffel et al. 2020, arXiv:1910.10683; Dong et al. 2019, arXiv:1905.03197",
    .source = "google-research/text-to-text-transfer-transformer@0068fa7, t5/data/preprocessors.py, "
              "random_prefix_noise_mask (lengths)",
    .deviations =
        "lengths are drawn anew at each step and spread over its rows, where T5's are drawn for each; the mean over "
        "targets is that of all lengths, where T5 divides by the targets of the batch; with documents told apart, "
        "tokens of a prefix see those of it that are of their own document",
});

}  // namespace effllm::objectives
