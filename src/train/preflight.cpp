#include "train/preflight.h"

#include "base/text.h"
#include "data/batches.h"
#include "kernels/parallel.h"
#include "model/describe.h"
#include "model/language_model.h"
#include "train/foresight.h"
#include "train/run.h"
#include "train/trainer.h"

namespace effllm {
namespace {

void check_memory(double need) {
  if (const double have = memory_limit(); need > 0.9 * have)
    throw MemoryError(
        "training would need about {} of {}; lower train.batch's shard (train.shard_tokens), train.context or "
        "model.d_model",
        human_bytes(need), human_bytes(have));
}

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

void check_carried(const LanguageModel& model) {
  for (int64_t i = 0; i < model.layers(); ++i) {
    require_carriable(model.block(i).mixer().state_spec(1));
    if (const auto* ffn = model.block(i).ffn()) require_carriable(ffn->state_spec(1));
  }
}

}  // namespace

Preflight preflight(const RunConfig& config) {
  Preflight p;
  p.corpus = Corpus::open(config.data.corpus, config.folder);
  p.tokenizer = build_tokenizer(config.data.tokenizer, p.corpus.text());
  p.train = p.corpus.tokenize(*p.tokenizer, Split::train);
  p.val = p.corpus.tokenize(*p.tokenizer, parse_split(config.eval.split));
  const size_t tokens = p.train.tokens.size() + p.val.tokens.size();
  p.memory = predicted_bytes(config, p.tokenizer->vocab_size(), threads()) +
             static_cast<double>(p.corpus.text().size() + tokens * sizeof(p.train.tokens[0]));
  check_memory(p.memory);
  check_evaluation(config, p);
  const auto order = build_order(config.data.order, p.train, {config.train.batch, config.train.context},
                                 static_cast<uint64_t>(config.data.seed), config.data.reset == "document");
  LanguageModel model(config.model, p.tokenizer->vocab_size());
  model.params().as_meta(DType::f32);
  group_settings(config.optim, config.groups, model.params());
  if (config.train.carry_state) check_carried(model);
  const double flops = train_flops_per_token(config.model, p.tokenizer->vocab_size(), config.train.context);
  if (const auto doubt = warmup_doubt(config, expected_steps(config, flops, 1 / order->epochs(1))); !doubt.empty())
    p.doubts.push_back({config.schedule.mark.line ? config.schedule.mark : config.train.mark, doubt});
  p.note = long_step_note(config, flops);
  return p;
}

}  // namespace effllm
