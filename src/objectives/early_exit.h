// Early exit loss (LayerSkip, Elhoushi et al. 2024, arXiv:2404.16710, section 4.1.2): what each layer leaves on the
// stream goes through the one final norm and head too, so that the model can end after any of them.
//
//   J = sum_l e~(t, l) CE(head(norm(x_{l+1}))),   e~(t, l) = C(t, l) e(l) / sum_i C(t, i) e(i)
//   e(l) = scale (0 + 1 + .. + l) for l < L-1,    e(L-1) = L-1 + scale (0 + 1 + .. + L-2)
//
// C says which layers a step has; the last is always on. Rotational: every R-th, moved on by one place round the circle
// of all L each step. Gradual: from the last to the first, layer l from (L - l) / (2 L) of the run on. Of layers
// without weight nothing is computed: e(0) = 0, so the first is never one.
#pragma once
#include "objectives/objective.h"

namespace effllm {

// Of the descriptor of an objective that has it.
inline constexpr std::string_view kEarlyExitDeviations =
    "early_exit: weights are the paper's e(l), where the code's grow from 1 with the first layer and, in rotation, "
    "over "
    "the layers that are on alone; the last layer is always on, as in the code; the gradual curriculum compares the "
    "step at hand, where the code is one behind, and a horizon in tokens, FLOPs or time serves as well as one in steps";

struct EarlyExitOptions final : Options {
  double scale = 0;
  std::string curriculum = "none";
  std::optional<int64_t> every;
  void visit(OptionVisitor& v) override;
};

class EarlyExit {
 public:
  explicit EarlyExit(const EarlyExitOptions& o);  // ConfigError where they do not fit each other, or do nothing
  void require_layers(int64_t layers) const;      // ConfigError where there is no layer that could be an exit
  bool none() const { return scale_ == 0; }
  // e~(t, l) of each of so many layers, at `step` and so far through the run.
  std::vector<double> weights(int64_t layers, int64_t step, double progress) const;
  // Layers before the last that a step computes the loss of: in the mean over a run, at most, and in one step.
  double mean_exits(int64_t layers) const;
  int64_t most_exits(int64_t layers) const;
  int64_t exits_at(int64_t layers, int64_t step, double progress) const;
  // As Objective::loss, whose value is that of the last layer; the others' are losses of the ledger,
  // "layers.1.exit_loss", and so is z_weight times log^2 Z of the last layer (linear_cross_entropy), whose sum is
  // `squares`. On shapes alone it is a step that has as many exits as any.
  LossAndSquares loss(const LanguageModel& model, const BatchRows& rows, double weight, const Context& with,
                      State* state, double z_weight) const;

 private:
  bool on(int64_t layer, int64_t layers, int64_t step, double progress) const;
  int64_t every(int64_t layers) const;
  int64_t fullest_step(int64_t layers) const;  // of those at the end of a run

  Mark mark_;
  double scale_;
  bool rotates_, grows_;
  std::optional<int64_t> every_;
};

}  // namespace effllm
