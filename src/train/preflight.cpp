#include "train/preflight.h"

#include "base/limits.h"
#include "data/batches.h"
#include "kernels/parallel.h"
#include "model/describe.h"
#include "model/language_model.h"
#include "train/foresight.h"
#include "train/memory.h"
#include "train/trainer.h"

namespace effllm {
namespace {

void check_evaluation(const RunConfig& config, const Preflight& p) {
  if (p.val.tokens.size() < 2)
    throw DataError("corpus `{}`, split {}: one token leaves nothing to predict", p.corpus.manifest().name,
                    config.eval.split);
  try {
    p.tokenizer->encode(config.eval.prompt);
  } catch (const DataError& e) {
    throw DataError("eval.prompt: {}; choose another prompt, or leave the key out (--set ~eval.prompt)", e.what());
  }
}

}  // namespace

Preflight preflight(const RunConfig& config) {
  Preflight p;
  p.corpus = Corpus::open(config.data.corpus, config.folder);
  p.tokenizer = build_tokenizer(config.data.tokenizer, p.corpus.text());
  p.train = p.corpus.tokenize(*p.tokenizer, Split::train);
  p.val = p.corpus.tokenize(*p.tokenizer, parse_split(config.eval.split));
  LanguageModel model(config.model, p.tokenizer->vocab_size());
  model.params().as_meta(DType::f32);
  if (config.train.carry_state) try {
      require_carriable(model);
    } catch (const ConfigError& e) {
      throw_at(config.train.mark, e.what());
    }
  const TextSizes text{.bytes = static_cast<int64_t>(p.corpus.text().size()),
                       .train_tokens = static_cast<int64_t>(p.train.tokens.size()),
                       .eval_tokens = static_cast<int64_t>(p.val.tokens.size())};
  try {
    p.plan = plan_memory(config, model.vocab(), threads(), text);
  } catch (const MemoryError& e) {  // a single tensor that fits no memory
    throw MemoryError(located(config.train.mark, e.what()));
  }
  require_memory(config, model.vocab(), p.plan, memory_limit());
  check_evaluation(config, p);
  const auto order = build_order(config.data.order, p.train, {config.train.batch, config.train.context},
                                 static_cast<uint64_t>(config.data.seed), config.data.reset == "document");
  group_settings(config.optim, config.groups, model.params());
  const double flops = train_flops_per_token(config.model, model.vocab(), config.train.context);
  if (const auto doubt = warmup_doubt(config, expected_steps(config, flops, 1 / order->epochs(1))); !doubt.empty())
    p.doubts.push_back({config.schedule.mark.line ? config.schedule.mark : config.train.mark, doubt});
  p.note = long_step_note(config, flops);
  return p;
}

}  // namespace effllm
