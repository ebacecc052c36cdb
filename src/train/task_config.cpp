#include "train/task_config.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"

namespace effllm {

void refuse_beside_task(ConfigNode& data, Diagnostics& found) {
  const ConfigNode* task = data.is_map() ? data.find("task") : nullptr;
  if (!task || !task->is_scalar() || task->text() == "none") return;
  for (const char* key : {"corpus", "tokenizer", "order", "reset"})
    if (const ConfigNode* value = data.find(key)) {
      found.error(value->mark(), fmt::format("data.{0} is of a text, and data.task: {1} makes its own samples; leave "
                                             "`{0}` out (--set ~data.{0})",
                                             key, task->text()));
      data.erase(key);
    }
}

void check_task(RunConfig& c, bool read, Diagnostics& found) {
  const std::string_view name = c.data.task.name();
  const auto task = found.collect([&] { return c.data.task.build(static_cast<uint64_t>(c.data.seed)); });
  if (!task || !read) return;
  const auto said = [](const Options& o, std::string_view key) {
    return std::ranges::find(o.given, key) != o.given.end();
  };
  const auto refuse = [&](const char* section, const char* key, std::string_view why) {
    found.error(c.mark_of(section, key), fmt::format("{}.{}: {}", section, key, why));
  };
  if (!said(c.train, "context")) c.train.context = task->longest();
  if (c.train.context < task->longest())
    refuse("train", "context",
           fmt::format("samples of {} have up to {}: give at least that, or leave the key out", name,
                       counted(task->longest(), "token")));
  if (!c.objective.type.info().takes_tasks)
    refuse("objective", "type",
           fmt::format("{} chooses its targets in a text; {} says itself what is scored: take "
                       "next_token",
                       c.objective.type.name(), name));
  if (c.eval.protocol.name() != EvalSection().protocol.name())
    refuse("eval", "protocol", fmt::format("samples of {} are scored one by one: leave the key out", name));
  if (c.eval.tokens) refuse("eval", "tokens", fmt::format("a window is a sample of {}: leave the key out", name));
  if (c.eval.max_tokens) refuse("eval", "max_tokens", "data.val_samples and data.test_samples say how many there are");
  if (!c.eval.prompt.empty() || (said(c.eval, "sample_tokens") && c.eval.sample_tokens > 0) || c.train.sample_every > 0)
    found.error(c.mark_of("data", "task"),
                fmt::format("no samples of text are written while {} is trained: leave eval.prompt, eval.sample_tokens "
                            "and train.sample_every out",
                            name));
  c.eval.sample_tokens = 0;
  if (c.train.carry_state)
    refuse("train", "carry_state", fmt::format("samples of {} have nothing to do with each other", name));
  if (c.train.max_epochs && static_cast<const TaskOptions&>(c.data.task.options()).train_samples == 0)
    refuse("train", "max_epochs",
           "each step has new samples, without end: give data.train_samples, or another max_ key");
}

}  // namespace effllm
