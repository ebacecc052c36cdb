#include "train/memory_plan.h"

#include <algorithm>
#include <cmath>

#include "nn/transposed.h"
#include "train/rehearsal.h"
#include "train/trainer.h"

namespace effllm {
namespace {

// What the process holds before it has a model: code, libraries and what they compile at run time; a run has HDF5 and
// every kind of product too.
constexpr double kProgram = 28e6, kRun = 36e6;
constexpr double kHugePage = 2 << 20, kPages = 2 * kHugePage;  // kPages: pools begin some that they do not fill

// A slab's bytes as the system gives them: large ones are whole huge pages.
double slab_bytes(double bytes) { return bytes >= kHugePage ? std::ceil(bytes / kHugePage) * kHugePage : bytes; }

// One slab of all parameters.
double parameter_bytes(Rehearsal& r) { return slab_bytes(4 * static_cast<double>(r.model().params().slab_elements())); }

double weight_bytes(const RunConfig& config, Rehearsal& r, int workers) {
  double transposed = 0;
  if (TransposedWeights::pay(config.train.batch * config.train.context))
    for (const Parameter* p : r.model().params().sorted())
      transposed += p->traits.dense ? static_cast<double>(p->extent) : 0;
  double slots = 0;
  const SlotLayout kept(r.model().params(), slots_of(config.optim.type));
  for (const int64_t n : kept.elements) slots += slab_bytes(4 * static_cast<double>(n));
  slots += slab_bytes(4 * static_cast<double>(config.optim.type.info().workspace(r.model().params(), workers)));
  const double gradients = static_cast<double>(r.plan().lanes.size());
  return (1 + gradients) * parameter_bytes(r) + slots + slab_bytes(4 * transposed);
}

// What rows remember from step to step, and what they did before a step that may be left out.
double carried_bytes(const RunConfig& c, Rehearsal& r, int64_t room) {
  return room > 0
             ? 2 * static_cast<double>(c.train.batch) * static_cast<double>(r.model().site().bytes(room, DType::f32))
             : 0;
}

double batch_bytes(const RunConfig& c) {  // inputs, targets, those of further heads, documents
  return static_cast<double>(c.train.batch * c.train.context *
                             (8 + 4 * c.model.heads + (c.data.reset == "document" ? 8 : 0)));
}

// That of a text of so many tokens; 0: of one batch of whole windows.
EvalPlan plan_of(const RunConfig& c, const EvalOptions& o, int64_t tokens) {
  const int64_t inputs = tokens - c.objective.type.build()->scored_ahead();
  return {o, scored_inputs(o, inputs > 0 ? inputs : o.tokens * o.batch)};
}

// On top of what the rehearsal has taken: on each of the workers a batch, on one of them what is left over, and beside
// the pools the windows' tokens, and scores of windows and pieces; of exits the likeliest tokens after each layer too.
double rehearse_evaluation(Rehearsal& r, const EvalPlan& plan, int workers, bool by_exit = false) {
  const double before = r.taken();
  const std::vector<EvalPlan::Size> sizes = plan.sizes();
  const int64_t room = plan.carried() ? plan.inputs() : 0;
  r.evaluate(sizes[0], room, workers > 1, by_exit);
  const double batch = r.taken() - before;
  for (size_t i = 1; i < sizes.size(); ++i) r.evaluate(sizes[i], room, workers > 1, by_exit);
  const double rest = r.taken() - before - batch;
  const double exits = by_exit ? static_cast<double>(r.model().layers()) : 0;
  const double tokens = (16 + 4 * exits) * static_cast<double>(sizes[0].windows) * static_cast<double>(sizes[0].tokens);
  const double window = 64 + exits * static_cast<double>(sizeof(ExitScore));
  return workers * (batch + tokens) + rest + window * static_cast<double>(plan.windows());
}

}  // namespace

double MemoryPlan::total() const {
  double all = 0;
  for (const MemoryPart& p : parts) all += p.bytes;
  return all;
}

double numbers_of(const Parameter& p, const Choice<OptimizerInfo>& optimizer, size_t lanes) {
  double numbers = static_cast<double>(1 + lanes) * static_cast<double>(p.extent);
  for (const SlotKind& kind : slots_of(optimizer)(p)) numbers += static_cast<double>(kind.extent(p));
  return numbers;
}

int64_t carried_tokens(const RunConfig& c, int64_t train_tokens) {
  return train_tokens > 0 ? std::max(c.train.context, train_tokens / c.train.batch) : static_cast<int64_t>(kMostTokens);
}

double step_bytes(const RunConfig& config, int64_t vocab, int workers, int64_t batches) {
  const auto model = model_on_shapes(config.model, vocab);
  const int64_t room = config.train.carry_state ? carried_tokens(config, 0) : 0;
  Rehearsal r(config, *model, room);
  r.step();
  return kProgram + kPages * workers + weight_bytes(config, r, workers) + carried_bytes(config, r, room) +
         static_cast<double>(batches) * batch_bytes(config) +
         std::min<double>(workers, static_cast<double>(r.plan().lanes.size())) * r.taken();
}

double evaluation_bytes(const RunConfig& config, int64_t vocab, const EvalOptions& options, int64_t tokens,
                        int workers) {
  const auto model = model_on_shapes(config.model, vocab);
  Rehearsal r(config, *model);
  const EvalPlan plan = plan_of(config, options, tokens);
  return kRun + parameter_bytes(r) + rehearse_evaluation(r, plan, plan.workers(workers), options.by_exit);
}

double sample_bytes(const RunConfig& config, int64_t vocab, int64_t prompt, int64_t tokens, const ContextLimit& limit) {
  const auto model = model_on_shapes(config.model, vocab);
  Rehearsal r(config, *model);
  r.sample(prompt, tokens, limit);
  return kRun + parameter_bytes(r) + r.taken();
}

MemoryPlan plan_memory(const RunConfig& c, LanguageModel& model, int workers, const TextSizes& text, Ledger* added_up) {
  const int64_t room = c.train.carry_state ? carried_tokens(c, text.train_tokens) : 0;
  Rehearsal r(c, model, room);
  if (room > 0) require_carriable(model);
  const auto lanes = static_cast<int>(r.plan().lanes.size()), trainers = std::min(workers, lanes);
  const Ledger ledger = r.step();
  if (added_up) *added_up = ledger;
  const double step = r.taken();
  std::vector<size_t> buffers = r.buffers();
  const EvalPlan eval = plan_of(c, evaluation_of(c), text.eval_tokens);
  const int scorers = eval.workers(workers);
  double evaluation = rehearse_evaluation(r, eval, scorers);
  const double before = r.taken();
  if (c.eval.sample_tokens > 0)
    r.sample(static_cast<int64_t>(c.eval.prompt.size()), c.eval.sample_tokens,
             context_limit(r.model(), trained_context(c)));
  const double samples = r.taken() - before;
  if (scorers > trainers) {  // threads that only evaluate find nothing to use again
    Rehearsal alone(c, model);
    alone.evaluate(eval.sizes()[0], eval.carried() ? eval.inputs() : 0, true);
    evaluation += (scorers - trainers) * alone.taken();
  }
  const double carried = carried_bytes(c, r, room);
  // Parameters and moments are packed to be written, and when a run goes on the file is read as a whole.
  double checkpoint = carried / 2;
  for (const Parameter* p : r.model().params().sorted()) {
    checkpoint += 4 * static_cast<double>(p->shape.numel());
    for (const SlotKind& kind : slots_of(c.optim.type)(*p))
      checkpoint += 4 * static_cast<double>(kind.shape(*p).numel());
  }
  return {{{"the program", kRun + kPages * workers, ""},
           {"weights, gradients and moments", weight_bytes(c, r, workers), "model.d_model, the number of layers"},
           {"training steps", trainers * step,
            c.train.recomputes() ? "train.context, train.shard_tokens"
                                 : "train.context, train.shard_tokens, or take train.recompute: block"},
           {"batches", batch_bytes(c), "train.batch, train.context"},
           {"checkpoints", checkpoint, "model.d_model, the number of layers"},
           {"carried states", carried, "train.batch, the windows of attention"},
           {"evaluation", evaluation, "eval.tokens, eval.max_tokens"},
           {"samples", samples, "eval.sample_tokens"},
           {"the corpus", static_cast<double>(text.bytes + 4 * (text.train_tokens + text.eval_tokens)), ""}},
          std::move(buffers)};
}

}  // namespace effllm
