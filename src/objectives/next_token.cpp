// Cross-entropy of each token after those before it. z_loss: Chowdhery et al. 2022, arXiv:2204.02311, section 5, adds
// 1e-4 log^2 Z of each token, Z the sum of the exponentials of its logits, which keeps log Z near 0.
#include "objectives/early_exit.h"

namespace effllm::objectives {
namespace {

constexpr Metric kZLoss{"z_loss", "1", "mean of log^2 Z over targets, of which objective.z_loss is the weight"};

struct NextTokenOptions final : Options {
  double z_loss = 0;
  EarlyExitOptions early_exit;
  void visit(OptionVisitor& v) override {
    v("z_loss", z_loss,
      "Weighs log^2 Z of each target in what training minimises, where Z is the sum of the exponentials of its logits "
      "(PaLM's z-loss: 1e-4); 0: none.",
      between(0, 1));
    v("early_exit", early_exit, "Trains the model to end after earlier layers too.");
  }
};

class NextToken final : public Objective {
 public:
  using Options = NextTokenOptions;
  explicit NextToken(const Options& o) : z_loss_(o.z_loss), exits_(o.early_exit) {}
  void require_layers(int64_t layers) const override { exits_.require_layers(layers); }
  double exits(int64_t layers) const override { return exits_.mean_exits(layers); }
  int64_t most_exits(int64_t layers) const override { return exits_.most_exits(layers); }
  int64_t exits_at(int64_t layers, int64_t step, double progress) const override {
    return exits_.exits_at(layers, step, progress);
  }
  Tensor loss(const LanguageModel& model, const BatchRows& rows, double weight, const Context& cx,
              State* state) const override {
    if (!cx.ledger || (z_loss_ == 0 && exits_.none())) return Objective::loss(model, rows, weight, cx, state);
    const Context with = with_documents(cx, rows);
    const LossAndSquares y = exits_.loss(model, rows, weight, with, state, z_loss_ * weight);
    if (z_loss_ > 0) Call(with, model.site()).loss(kZLoss, y.squares, z_loss_, Ledger::Per::target);
    return y.loss;
  }

 private:
  double z_loss_;
  EarlyExit exits_;
};

}  // namespace

extern constinit const ObjectiveInfo next_token = ObjectiveInfo::of<NextToken>({
    .name = "next_token",
    .title = "cross-entropy of the next token",
    .paper = "z_loss: Chowdhery et al. 2022, arXiv:2204.02311; early_exit: Elhoushi et al. 2024, arXiv:2404.16710",
    .source = "early_exit: pytorch/torchtune@bd2a0fc, torchtune/modules/early_exit_loss.py, of an author of LayerSkip "
              "(the curricula); none for z_loss: PaLM's code is not public",
    .deviations = kEarlyExitDeviations,
    .takes_tasks = true,
});

}  // namespace effllm::objectives
