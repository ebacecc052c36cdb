#include "train/preflight.h"

#include <fmt/format.h>

#include <utility>

#include "base/limits.h"
#include "base/out_of_memory.h"
#include "base/text.h"
#include "data/task_order.h"
#include "decode/generator.h"
#include "kernels/parallel.h"
#include "model/describe.h"
#include "model/language_model.h"
#include "train/foresight.h"
#include "train/memory_refusal.h"
#include "train/trainer.h"

namespace effllm {
namespace {

constexpr int64_t kLooked = 100;  // batches, for one with a target: the first has it, or hardly any

void check_evaluation(const RunConfig& config, const Preflight& p) {
  if (static_cast<int64_t>(p.val.tokens.size()) <= config.objective.type.build()->scored_ahead())
    throw DataError("corpus `{}`, split {}: one token leaves nothing to predict", p.corpus.manifest().name,
                    config.eval.split);
  if (config.eval.sample_tokens > 0) try {
      prompt_length(*p.model, *p.tokenizer, config.eval.prompt, GenerateOptions().blank);
    } catch (const Error& e) {
      if (e.code() != ExitCode::data && e.code() != ExitCode::usage) throw;
      throw_at(
          config.mark_of("eval", "prompt"),
          fmt::format("eval.prompt: {}; choose another prompt, or leave the key out (--set ~eval.prompt)", e.what()));
    }
}

// A row that is longer than the text is the configuration's fault, which says how long it is.
std::unique_ptr<BatchOrder> order_of(const RunConfig& config, const Objective& objective, const RunText& text) {
  try {
    return text.order(config, objective, 0);
  } catch (const DataError& e) {
    throw_at(config.mark_of("train", "context"), fmt::format("train.context: {}", e.what()));
  }
}

// What layers give to later ones that nobody takes, in the model and its encoder.
void doubt_unread(const ModelConfig& c, const LanguageModel& model, std::vector<Doubt>& doubts) {
  const auto look = [&](const Site& root, const std::vector<LayerSpec>& layers, const auto& site_of,
                        std::string_view where) {
    for (const SharedValue& v : root.given())
      for (size_t i = 0; i < layers.size(); ++i)
        if (!v.needed && site_of(static_cast<int64_t>(i)).gives(v.name))
          doubts.push_back(
              {layers[i].block.mark(),
               fmt::format("`{}` of layer {}{} are for later layers, but none takes them", v.name, i, where)});
  };
  const auto own = [&](int64_t i) -> const Site& { return model.layer_site(i); };
  const auto encoders = [&](int64_t i) -> const Site& { return model.encoder_layer_site(i); };
  look(model.site(), c.layers, own, "");
  if (c.encoder) look(model.encoder_site(), c.encoder->layers, encoders, " of the encoder");
}

}  // namespace

TextSizes RunText::sizes() const {
  return {.bytes = static_cast<int64_t>(corpus.text().size()),
          .train_tokens = static_cast<int64_t>(train.tokens.size()),
          .eval_tokens = static_cast<int64_t>(val.tokens.size())};
}

std::unique_ptr<BatchOrder> RunText::order(const RunConfig& config, const Objective& objective,
                                           int64_t first_batch) const {
  const BatchShape shape{config.train.batch, config.train.context, first_batch};
  const auto seed = static_cast<uint64_t>(config.data.seed);
  if (const TaskData* task = corpus.task()) return task_order(*task, objective, shape, seed);
  return config.data.order.build({.text = train,
                                  .objective = objective,
                                  .shape = shape,
                                  .seed = seed,
                                  .reset_documents = config.data.reset == "document"});
}

Corpus corpus_of(const RunConfig& c) {
  return c.data.task ? Corpus::of_task(c.data.task, static_cast<uint64_t>(c.data.seed))
                     : Corpus::open(c.data.corpus, c.folder);
}

int64_t vocab_of(const RunConfig& c) {
  if (c.data.task) return c.data.task.build(static_cast<uint64_t>(c.data.seed))->vocab();
  if (const int64_t n = c.data.tokenizer.info().vocab_size) return n;
  return corpus_of(c).tokenizer(c.data.tokenizer)->vocab_size();
}

RunText read_text(const RunConfig& config, Corpus corpus) {
  const Activity activity("reading the corpus", "choose a smaller one");
  RunText t;
  t.corpus = std::move(corpus);
  t.tokenizer = t.corpus.tokenizer(config.data.tokenizer);
  if (t.corpus.task())
    t.train.kind = TextKind::symbols;
  else
    t.train = t.corpus.tokenize(*t.tokenizer, Split::train);
  try {
    t.val = t.corpus.tokenize(*t.tokenizer, parse_split(config.eval.split));
  } catch (const DataError& e) {
    throw DataError(located(config.mark_of("eval", "split"), e.what()));
  }
  return t;
}

Preflight preflight(const RunConfig& config) {
  Preflight p;
  static_cast<RunText&>(p) = read_text(config, corpus_of(config));
  p.model = model_on_shapes(config.model, p.tokenizer->vocab_size());
  LanguageModel& model = *p.model;
  if (config.train.carry_state) require_carriable(model);
  doubt_unread(config.model, model, p.doubts);
  try {
    p.plan = plan_memory(config, model, threads(), p.sizes(), &p.added_up);
  } catch (const MemoryError& e) {  // a single tensor that fits no memory
    throw MemoryError(located(config.train.mark, e.what()));
  }
  require_memory(config, model.vocab(), p.plan, memory_limit());
  check_evaluation(config, p);
  const auto objective = config.objective.type.build();
  const auto order = order_of(config, *objective, p);
  p.epoch_samples = 1 / order->epochs(1);
  bool counts = false;
  for (int64_t i = 0; i < kLooked && !counts; ++i) counts = order->at(i * config.train.batch).counted() > 0;
  if (!counts)
    throw_at(config.mark_of("train", "context"),
             fmt::format("train.context: rows of {} have no target that {} counts: make them longer",
                         counted(config.train.context, "token"), config.objective.type.name()));
  group_settings(config.optim, config.groups, model.params());
  p.flops_per_token = train_flops_per_token(model, config.train.context);
  if (const auto doubt = warmup_doubt(config, expected_steps(config, p.flops_per_token, p.epoch_samples));
      !doubt.empty())
    p.doubts.push_back({config.schedule.mark.line ? config.schedule.mark : config.train.mark, doubt});
  p.note = long_step_note(config, train_flops_per_token(model, config.train.context, config.train.recomputes()));
  return p;
}

}  // namespace effllm
