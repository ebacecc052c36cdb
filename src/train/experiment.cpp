#include "train/experiment.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/out_of_memory.h"
#include "base/text.h"
#include "checkpoint/checkpoint.h"
#include "data/task_data.h"
#include "model/describe.h"
#include "model/old_defaults.h"

namespace effllm {

Experiment::Experiment(RunConfig wanted) : config(std::move(wanted)), objective(config.objective.type.build()) {
  const Activity activity("reading the corpus and building the model", "choose a smaller corpus or model.d_model");
  Preflight ready = preflight(config);
  static_cast<RunText&>(*this) = std::move(static_cast<RunText&>(ready));
  memory = std::move(ready.plan);
  model = std::move(ready.model);
  flops_per_token = ready.flops_per_token;
  added_up = std::move(ready.added_up);
  for (const Doubt& d : ready.doubts) notes.push_back("warning: " + d.message);
  if (!ready.note.empty()) notes.push_back(ready.note);
  if (config.data.reset == "document" && train.document_starts.size() == 1)
    notes.push_back(fmt::format(
        "data.reset: document changes nothing: the training split is one document ({})",
        corpus.manifest().document_separator.empty() ? "the corpus has no separator" : "its separator does not occur"));
  if (const TaskData* task = corpus.task()) {
    notes.push_back(fmt::format("the samples of {} have the SHA-256 {}", task->settings(), corpus.manifest().sha256));
    if (const int64_t more = config.train.context - task->task().longest(); more > 0)
      notes.push_back(fmt::format("train.context is {} longer than the longest sample: rows end with nothing to learn",
                                  counted(more, "token")));
    return;
  }
  int64_t characters = 0;
  for (const int32_t id : train.tokens) characters += tokenizer->characters_of(id);
  const auto tokens = static_cast<double>(train.tokens.size());
  tokens_per_character = tokens / static_cast<double>(std::max<int64_t>(1, characters));
  tokens_per_byte = tokens / static_cast<double>(train.bytes);
}

void Experiment::use_defaults_of(int version) {
  if (version == kCheckpointVersion) return;
  effllm::use_defaults_of(version, config.model);
  model = model_on_shapes(config.model, tokenizer->vocab_size());
  flops_per_token = train_flops_per_token(*model, config.train.context);
}

void Experiment::build(int64_t first_batch, bool trains) {
  const Activity activity("building the model", "choose a smaller model.d_model");
  order = RunText::order(config, *objective, first_batch);
  if (trains) build_trainer();
  const ShardPlan plan = trainer ? trainer->plan() : plan_shards(config.train, *model);
  config.train.lanes = static_cast<int64_t>(plan.lanes.size());  // what was chosen stands in the resolved file
}

void Experiment::build_trainer() {
  model->params().materialize(static_cast<uint64_t>(config.train.seed), DType::f32);
  const auto train_tokens = static_cast<int64_t>(train.tokens.size());
  optimizer = build_optimizer(config.optim, config.groups, model->params());
  trainer = std::make_unique<Trainer>(*model, *objective, *optimizer, plan_shards(config.train, *model),
                                      StepOptions{.seed = static_cast<uint64_t>(config.train.seed),
                                                  .clip = config.optim.clip,
                                                  .carry_state = config.train.carry_state,
                                                  .recompute = config.train.recomputes(),
                                                  .buffers = std::move(memory.step_buffers),
                                                  .carried_tokens = carried_tokens(config, train_tokens)});
}

}  // namespace effllm
