// Several tokens at once: head 1 is the model, which predicts the next token; heads 2 .. n (model/further_head.h)
// predict those after it from what is known at the same place, so that what a model remembers serves a longer stretch.
//
//   J = CE_1 + weight (CE_2 + .. + CE_n),   CE_k = - sum_t log p_k(x_{t+k} | x_{<= t}) / T
//
// T counts the targets of the next token: a target beyond its document's end carries no loss, and all heads are divided
// by the same number. parallel: Gloeckle et al. 2024, arXiv:2404.19737; sequential: DeepSeek-V3, arXiv:2412.19437,
// section 2.2, where head k also reads the embedding of x_{t+k-1}. Scores and samples are those of head 1.
#include <fmt/format.h>

#include <algorithm>

#include "objectives/objective.h"

namespace effllm::objectives {
namespace {

constexpr Metric kHeadLoss{"loss", "nats/token", "cross entropy of the token so many places ahead"};

struct MultiTokenOptions final : Options {
  int64_t tokens = 4;
  std::string form = "parallel";
  std::optional<double> weight;
  void visit(OptionVisitor& v) override {
    v("tokens", tokens, "Sets how many tokens are predicted at each place; 1: the next.", between(1, 64));
    v("form", form,
      "Lets the heads of further tokens read what the last layer reads, side by side, or each the one before and the "
      "token that it predicts.",
      {"parallel", "sequential"});
    v("weight", weight,
      "Weighs the loss of each further token beside that of the next; default: 1 with parallel, 0.3 / (tokens - 1) "
      "with sequential.",
      between(0, 100));
  }
};

class MultiToken final : public Objective {
 public:
  using Options = MultiTokenOptions;
  explicit MultiToken(const Options& o)
      : tokens_(o.tokens),
        sequential_(o.form == "sequential"),
        weight_(o.weight.value_or(sequential_ && tokens_ > 1 ? 0.3 / static_cast<double>(tokens_ - 1) : 1)) {
    if (tokens_ == 1 && (sequential_ || o.weight))
      throw_at(o.mark, fmt::format("objective.{} does nothing with tokens: 1, where the model is the only head; give "
                                   "more tokens, or leave it out",
                                   o.weight ? "weight" : "form"));
    if (weight_ == 0)
      throw_at(o.mark,
               "objective.weight: 0 lets the heads of further tokens learn nothing; give a weight above 0, or "
               "take next_token");
  }
  int64_t lookahead() const override { return tokens_; }
  int64_t scored_ahead() const override { return 1; }
  int64_t heads() const override { return tokens_ - 1; }
  bool heads_in_a_row() const override { return sequential_; }

  // Of each token also the targets 2 .. n places on, where no document starts in between.
  void cut(const Stretch& s, Batch& batch) const override {
    Objective::cut(s, batch);
    if (!s.training) return;
    for (int64_t i = s.begin; i < s.end; ++i) {
      const int64_t end = document_end(s, i);
      for (int64_t k = 2; k <= tokens_; ++k)
        batch.further.push_back(i + k < end ? s.text[static_cast<size_t>(i + k)] : kIgnoredTarget);
    }
  }

  Tensor loss(const LanguageModel& model, const BatchRows& rows, double weight, const Context& cx,
              State* state) const override {
    if (!cx.ledger || tokens_ == 1) return Objective::loss(model, rows, weight, cx, state);
    const Context with = with_documents(cx, rows);
    std::vector<Tensor> targets = {rows.targets};  // of head 1, 2 ..
    for (int64_t k = 2; k <= tokens_; ++k) targets.push_back(further_targets(rows, k - 2));
    const auto read = [&](int64_t ahead) { return known(targets[static_cast<size_t>(ahead - 2)]); };
    const std::vector<Tensor> x = model.bodies(rows.inputs, read, with, state);
    for (int64_t k = 2; k <= tokens_; ++k) {
      const auto i = static_cast<size_t>(k - 1);
      const Tensor y = model.further_loss(k, x[i], targets[i], 1).loss;
      Call(with, model.further_site(k)).loss_of(kHeadLoss, y, counted(targets[i]), weight_);
    }
    return model.head_loss(x[0], rows.targets, weight).loss;
  }

 private:
  // Where the document of input i ends: no target is beyond it. Without documents: nowhere in reach.
  int64_t document_end(const Stretch& s, int64_t i) const {
    if (!s.document_starts) return i + tokens_ + 1;
    const auto next = std::ranges::upper_bound(*s.document_starts, i);
    return next == s.document_starts->end() ? i + tokens_ + 1 : *next;
  }
  Tensor further_targets(const BatchRows& rows, int64_t number) const {
    const Tensor all = Tensor::dense(rows.inputs.shape(), DType::i32);
    if (all.is_meta()) return all;
    require(rows.further.defined(), "multi_token: rows without their further targets; cut() makes them");
    const int32_t* from = rows.further.data<int32_t>() + number;
    for (int64_t i = 0; i < all.numel(); ++i) all.data<int32_t>()[i] = from[i * (tokens_ - 1)];
    return all;
  }
  // Tokens to be read: beyond a document's end any, since no loss depends on them.
  static Tensor known(const Tensor& targets) {
    const Tensor all = Tensor::dense(targets.shape(), DType::i32);
    if (!all.is_meta())
      std::ranges::transform(std::span(targets.data<int32_t>(), static_cast<size_t>(targets.numel())),
                             all.data<int32_t>(), [](int32_t t) { return std::max(t, 0); });
    return all;
  }
  static int64_t counted(const Tensor& targets) {
    if (targets.is_meta()) return 0;
    const auto all = std::span(targets.data<int32_t>(), static_cast<size_t>(targets.numel()));
    return std::ranges::count_if(all, [](int32_t t) { return t != kIgnoredTarget; });
  }

  const int64_t tokens_;
  const bool sequential_;
  const double weight_;
};

}  // namespace

extern constinit const ObjectiveInfo multi_token = ObjectiveInfo::of<MultiToken>({
    .name = "multi_token",
    .title = "cross-entropy of several tokens at once, each by a head of its own",
    .paper = "Gloeckle et al. 2024, arXiv:2404.19737; sequential: DeepSeek-AI 2024, arXiv:2412.19437, section 2.2",
    .source =
        "sequential: vllm-project/vllm@03356f8, vllm/model_executor/models/deepseek_mtp.py, and "
        "NVIDIA/Megatron-LM@00611e6, megatron/core/transformer/multi_token_prediction.py, which run and train such "
        "modules; none for parallel: the authors released a model alone, whose heads these are",
    .deviations =
        "the last layer of model.layers is the next token's head, and further heads come on top, where the paper takes "
        "a layer from the trunk for each, so that sizes stay: leave out layers for that; heads have blocks like the "
        "last "
        "layer, of whatever kind that is; a target beyond its document's end carries no loss, and all heads are "
        "divided "
        "by the number of the next token's targets; all heads go backward together, where the paper takes one after "
        "the "
        "other to save memory; sequential: the projection reads the stream before the embedding, as in the paper, "
        "where "
        "both codes have them the other way round; the stream of the model is taken before its final norm; the "
        "embedding "
        "is that of the token alone, without learned positions or dropout; weight 0.3 is that of the first 10T tokens "
        "of "
        "DeepSeek-V3, which went on with 0.1",
});

}  // namespace effllm::objectives
