// Cross-entropy of each token after those before it. z_loss: Chowdhery et al. 2022, arXiv:2204.02311, section 5, adds
// 1e-4 log^2 Z of each token, Z the sum of the exponentials of its logits, which keeps log Z near 0.
#include "objectives/objective.h"

namespace effllm::objectives {
namespace {

constexpr Metric kZLoss{"z_loss", "1", "mean of log^2 Z over targets, of which objective.z_loss is the weight"};

struct NextTokenOptions final : Options {
  double z_loss = 0;
  void visit(OptionVisitor& v) override {
    v("z_loss", z_loss,
      "Weighs log^2 Z of each target in what training minimises, where Z is the sum of the exponentials of its logits "
      "(PaLM's z-loss: 1e-4); 0: none.",
      between(0, 1));
  }
};

class NextToken final : public Objective {
 public:
  using Options = NextTokenOptions;
  explicit NextToken(const Options& o) : z_loss_(o.z_loss) {}
  Tensor loss(const LanguageModel& model, const BatchRows& rows, double weight, const Context& cx,
              State* state) const override {
    if (!cx.ledger || z_loss_ == 0) return Objective::loss(model, rows, weight, cx, state);
    const Context with = with_documents(cx, rows);
    const Tensor x = model.body(rows.inputs, with, state);
    const LossAndSquares y = model.head_loss(x, rows.targets, weight, z_loss_ * weight);
    Call(with, model.site()).loss(kZLoss, y.squares, z_loss_, Ledger::Per::target);
    return y.loss;
  }

 private:
  double z_loss_;
};

}  // namespace

extern constinit const ObjectiveInfo next_token = ObjectiveInfo::of<NextToken>({
    .name = "next_token",
    .title = "cross-entropy of the next token",
    .paper = "z_loss: Chowdhery et al. 2022, arXiv:2204.02311",
    .source = "none: PaLM's code is not public",
    .deviations = "",
});

}  // namespace effllm::objectives
