// What is optimised: how a text is cut into inputs and targets, what their loss is, and how well a model does.
#pragma once
#include "config/list.h"
#include "model/language_model.h"
#include "objectives/batch.h"

namespace effllm {

// The rows must outlive it.
Context with_documents(Context cx, const BatchRows& rows);

class Objective {
 public:
  virtual ~Objective() = default;
  // True where no token may see those after it.
  virtual bool causal() const { return true; }
  // Tokens of the text after the last input that a cut reads.
  virtual int64_t lookahead() const { return 1; }
  // Appends a row to the batch. A function of the stretch alone: who cuts, and when, makes no difference. As it is
  // here, targets are the tokens after the inputs.
  virtual void cut(const Stretch& s, Batch& batch) const;
  // Sum of the losses of the targets that count, times `weight`, [1] f64; advances the state.
  virtual Tensor loss(const LanguageModel& model, const BatchRows& rows, double weight, const Context& cx,
                      State* state) const;
  // Of each row the nats of the targets that count, by which models are compared; advances the state. The batch may be
  // one of shapes alone.
  virtual std::vector<double> score(const LanguageModel& model, const BatchRows& rows, State* state) const;
};

struct ObjectiveFacts {
  std::string_view name, title;
  std::string_view paper, source, deviations;
};
using ObjectiveInfo = Entry<Objective, ObjectiveFacts>;
extern const List<ObjectiveInfo> all_objectives;

// The section `objective`.
struct ObjectiveSection final : Options {
  Choice<ObjectiveInfo> type{all_objectives, "next_token"};
  void visit(OptionVisitor& v) override {
    type.visit_name(v, "type", "Chooses what is optimised.");
    type.visit_options(v, "type", mark);
  }
};

}  // namespace effllm
