// What is optimised: how a text is cut into inputs and targets, what their loss is, and how well a model does.
#pragma once
#include "config/list.h"
#include "model/language_model.h"
#include "objectives/batch.h"

namespace effllm {

struct TwoParts;  // objectives/two_parts.h

// The rows must outlive it.
Context with_documents(Context cx, const BatchRows& rows);

// How the rows of an evaluation are scored.
struct Scoring {
  State* state = nullptr;      // is advanced
  int64_t first = 0;           // number of the first row among all of the evaluation
  int64_t samples = 1;         // draws for each row, where a bound is estimated
  uint64_t seed = 1;           // of those
  bool left_to_right = false;  // in place of the bound the likelihood of one order of tokens
  bool each_alone = false;     // in its place -log p of each token, given all others that it may see
  // The tokens that layers choose are those of training, which sees all of a row: no likelihood. What layers measure
  // goes to `ledger`, where there is one.
  bool training_choice = false;
  Ledger* ledger = nullptr;
  bool by_exit = false;      // RowScore::exits too
  bool count_right = false;  // RowScore::right too
  bool each_token = false;   // RowScore::token_nats too, where the objective scores_tokens()
};

// A model that ends after one of its layers.
struct ExitScore {
  double nats = 0;
  int64_t agrees = 0;  // targets where its likeliest token is the last layer's
};

struct RowScore {
  double nats = 0;                      // of the targets that count
  double variance = 0;                  // of the estimate over draws; NaN where there was one
  std::vector<ExitScore> exits = {};    // after 1, 2 ... layers
  int64_t settled = 0;                  // sum over targets of the layers after which the likeliest token stays the same
  int64_t predictions = 0;              // targets that these two are counted over
  int64_t right = 0;                    // targets that are the likeliest token, of equals the first
  std::vector<double> token_nats = {};  // of the row's last targets, as many as the model predicts; 0 where none counts
};

class Objective {
 public:
  virtual ~Objective() = default;
  // True where no token may see those after it.
  virtual bool causal() const { return true; }
  // True where a prompt is read at once, and all of its tokens see each other (Tokens::prefix).
  virtual bool prefix() const { return false; }
  // The share of a row's tokens that training always takes for it; unset: any number of them.
  virtual std::optional<double> prefix_share() const { return {}; }
  // Tokens of a block: they see each other and the blocks before (Pass::block); 0: there are none.
  virtual int64_t block() const { return 0; }
  // Where texts are written from random tokens: their share half of the way (CorruptionSchedule).
  virtual std::optional<double> uniform() const { return {}; }
  // True where `score` is an estimated upper bound of what a likelihood would be, and of what.
  virtual bool bound() const { return false; }
  virtual std::string_view bound_of() const {
    return "the mean of -log p over all orders of the tokens, a bound of that of their mixture";
  }
  // True where `score` can go by one order, or take each token by itself.
  virtual bool any_order() const { return bound(); }
  // False where training minimises another number than `score` estimates.
  virtual bool trains_score() const { return true; }
  // True where `score` is of tokens that are missing in a text, given the rest of it: no likelihood of the text.
  virtual bool given_rest() const { return false; }
  // True where `score` can tell what each token costs after those before it.
  virtual bool scores_tokens() const { return causal() && !bound() && !given_rest(); }
  // Ids from the vocabulary's end on that stand in inputs, and how many of them, the first, are predicted too.
  virtual int64_t extra_ids() const { return 0; }
  virtual int64_t extra_targets() const { return 0; }
  // ConfigError where rows of so many tokens can't be cut as it says, and where nothing in a model of so many layers
  // is what its options are for.
  virtual void require_rows(int64_t /*tokens*/) const {}
  virtual void require_layers(int64_t /*layers*/) const {}
  // What it makes of a row of so many inputs, at most, where it needs a model with an encoder.
  virtual std::function<RowParts(int64_t tokens)> parts() const { return {}; }
  // Of rows that were cut for evaluation what the encoder reads and the decoder predicts; an Error where there are no
  // such parts.
  virtual TwoParts divided(const BatchRows& rows, int64_t vocab) const;
  // Tokens of the text after the last input that a cut reads.
  virtual int64_t lookahead() const { return 1; }
  // The same of a cut for evaluation, which may leave targets out that training alone has.
  virtual int64_t scored_ahead() const { return lookahead(); }
  // Heads of the model for tokens after the next, and whether they are in a row.
  virtual int64_t heads() const { return 0; }
  virtual bool heads_in_a_row() const { return false; }
  // Layers before the last, of so many, that a training step unembeds: in the mean over a run, in the step that has the
  // most, and in one.
  virtual double exits(int64_t /*layers*/) const { return 0; }
  virtual int64_t most_exits(int64_t /*layers*/) const { return 0; }
  virtual int64_t exits_at(int64_t /*layers*/, int64_t /*step*/, double /*progress*/) const { return 0; }
  // Appends a row to the batch. A function of the stretch alone: who cuts, and when, makes no difference. As it is
  // here, targets are the tokens after the inputs.
  virtual void cut(const Stretch& s, Batch& batch) const;
  // Sum of the losses of the targets that count, times `weight`, [1] f64; advances the state.
  virtual Tensor loss(const LanguageModel& model, const BatchRows& rows, double weight, const Context& cx,
                      State* state) const;
  // Of each row that by which models are compared. The batch may be one of shapes alone.
  virtual std::vector<RowScore> score(const LanguageModel& model, const BatchRows& rows, const Scoring& how) const;

 protected:
  // A row whose targets are the tokens `ahead` of the inputs; 0: the inputs, and a document's first counts.
  static void cut_ahead(const Stretch& s, int64_t ahead, Batch& batch);
  // What the model is given of `how`, beside a state.
  static Context context_of(const Scoring& how);
};

// What it wants of a model, in the model's configuration.
void tell(const Objective& objective, ModelConfig& model);

struct ObjectiveFacts {
  std::string_view name, title;
  std::string_view paper, source, deviations;
  bool takes_tasks = false;  // true where targets may be those that a task gives (Stretch::labels).
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
