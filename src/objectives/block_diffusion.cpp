// Block diffusion (BD3-LM: Arriola et al. 2025, arXiv:2503.09573): blocks of L' tokens follow each other as a causal
// model's tokens do, and within a block masked tokens are predicted from those that are seen and the blocks before, as
// in masked_diffusion. One pass sees the clean text and a copy with masks (AttentionOptions::noisy): clean tokens see
// their own block and those before, noisy ones the noisy ones of their own block and the clean ones of those before.
//
// Each block has a time t; its tokens are masked with probability b + (o - b) t of the clipped range [b, o], and the
// loss is sum -log p / that. Over [0, 1] it is a bound of -log p in the mean; narrower ranges trade that for less
// variance. Blocks of one token are masked always: then the loss is -log p(x_i | x_0 .. x_{i-1}) at a MASK in the place
// of x_i, the likelihood of an autoregressive model whose queries stand one place later.
//
// Evaluation estimates the bound of each block, given the blocks before, as masked_diffusion does that of a row.
#include <algorithm>

#include <fmt/format.h>

#include "base/random.h"
#include "objectives/hidden_tokens.h"
#include "objectives/spread.h"
#include "ops/last_tokens.h"

namespace effllm::objectives {
namespace {

struct BlockDiffusionOptions final : Options {
  int64_t block = 4;
  std::vector<double> clip;
  void visit(OptionVisitor& v) override {
    v("block", block, "Sets the tokens of a block, which are predicted together.", between(1, kMostTokens));
    v("clip", clip,
      "Sets the least and the most part of a block's tokens that training masks; default: [0, 1], and [1, 1] of blocks "
      "of one token. Any other range makes the loss no bound.",
      between(0, 1));
  }
};

// Of each row that of a, and behind it that of b: [B, T] twice -> [B, 2 T].
Tensor doubled(const Tensor& a, const Tensor& b) {
  const int64_t count = a.dim(0), tokens = a.dim(1);
  const Tensor both = Tensor::dense({count, 2 * tokens}, a.dtype());
  for (int64_t r = 0; r < (both.is_meta() ? 0 : count); ++r) {
    copy(a.row_range(r, {tokens}), both.row_range(r, {2 * tokens}).columns(0, tokens));
    copy(b.row_range(r, {tokens}), both.row_range(r, {2 * tokens}).columns(tokens, tokens));
  }
  return both;
}

class BlockDiffusion final : public Objective {
 public:
  using Options = BlockDiffusionOptions;
  explicit BlockDiffusion(const Options& o)
      : block_(o.block),
        least_(!o.clip.empty() ? o.clip[0]
               : o.block == 1  ? 1
                               : 0),
        most_(o.clip.empty() ? 1 : o.clip.back()),
        of_(fmt::format(
            "the mean of -log p over all orders of the tokens in each block of {}, given the blocks before, "
            "a bound of that of their mixture",
            o.block)) {
    if (!o.clip.empty() && (o.clip.size() != 2 || least_ > most_ || most_ == 0))
      throw_at(o.mark, "objective.clip is the least and the most part of a block that is masked: [0.3, 0.8]");
  }
  int64_t block() const override { return block_; }
  bool bound() const override { return block_ > 1; }
  bool scores_tokens() const override { return false; }
  std::string_view bound_of() const override { return of_; }
  bool trains_score() const override { return most_ == 1 && least_ == (block_ == 1 ? 1 : 0); }
  int64_t extra_ids() const override { return 1; }
  int64_t lookahead() const override { return 0; }
  void cut(const Stretch& s, Batch& batch) const override { cut_ahead(s, 0, batch); }

  // Noise is a function of seed, step and sample; times are spread evenly over the blocks of the batch.
  Tensor loss(const LanguageModel& model, const BatchRows& rows, double weight, const Context& cx,
              State* state) const override {
    require(!state, "block_diffusion: a row begins with its first block, and goes on from no state");
    const int64_t count = rows.inputs.dim(0), tokens = rows.inputs.dim(1), blocks = (tokens + block_ - 1) / block_;
    const BatchSpread times("block_diffusion.time", rows, cx, blocks);
    std::vector<double> rates;
    std::vector<RandomStream> noise;
    for (int64_t b = 0; b < count; ++b) {
      noise.emplace_back(cx.seed, "block_diffusion.mask", static_cast<uint64_t>(cx.step),
                         static_cast<uint64_t>(cx.samples[b]));
      for (int64_t k = 0; k < blocks; ++k) rates.push_back(least_ + (most_ - least_) * times(b, k));
    }
    const auto rate = [&](int64_t b, int64_t t) { return rates[static_cast<size_t>(b * blocks + t / block_)]; };
    const Tensor weights = Tensor::dense({count, tokens}, DType::f64);
    for (int64_t i = 0; !weights.is_meta() && i < weights.numel(); ++i)
      weights.data<double>()[i] = 1 / rate(i / tokens, i % tokens);
    const BatchRows seen = hidden(rows, model.vocab(), [&](int64_t b, int64_t t) {
      return noise[static_cast<size_t>(b)].uniform(static_cast<uint64_t>(t)) < rate(b, t) ? Hide::counts : Hide::no;
    });
    return model.head_loss(noisy(model, rows, seen, cx), seen.targets, weight, 0, weights).loss;
  }

  std::vector<RowScore> score(const LanguageModel& model, const BatchRows& rows, const Scoring& how) const override {
    const auto nats = [&](const BatchRows& seen, const Tensor& weights) {
      return nats_of(model, noisy(model, rows, seen, {}), seen.targets, weights);
    };
    Scoring own = how;
    own.left_to_right |= block_ == 1;
    return HiddenScore("block_diffusion", rows, model.vocab(), nats, block_)(own);
  }

 private:
  // What the model's blocks give of the noisy tokens, [B, T, D].
  static Tensor noisy(const LanguageModel& model, const BatchRows& clean, const BatchRows& seen, const Context& cx) {
    Context with = cx;
    with.noisy = true;
    with.share = 2;  // each token is twice among those that layers count
    const Context alone = with_documents({}, clean);
    const Tensor places = Call(alone, model.site()).positions(clean.inputs);
    with.positions = doubled(places, places);
    if (clean.segments.defined()) with.segments = doubled(clean.segments, clean.segments);
    return last_tokens(model.body(doubled(clean.inputs, seen.inputs), with, nullptr), clean.inputs.dim(1));
  }

  const int64_t block_;
  const double least_, most_;
  const std::string of_;
};

}  // namespace

extern constinit const ObjectiveInfo block_diffusion = ObjectiveInfo::of<BlockDiffusion>({
    .name = "block_diffusion",
    .title = "blocks of tokens one after the other, masked tokens within each (block diffusion)",
    .paper = "Arriola et al. 2025, arXiv:2503.09573",
    .source = "kuleshov-group/bd3lms@1c3e8f4, diffusion.py (times, masks, loss), models/dit.py (who sees whom)",
    .deviations =
        "clean tokens stand before noisy ones, there behind; a token weighs 1 / rate for every clip, there 1 where the "
        "least rate is above 1/2; rates begin at 0 unless clipped, there at a thousandth; the first token of a text is "
        "predicted too, there it is a mark; times are spread from a start that each step draws, there from 0, where a "
        "block's place tells its time; no search for the clip of least variance, and no second draw where masks "
        "fall outside it; evaluation takes each number of masks, there a rate a block is drawn",
});

}  // namespace effllm::objectives
