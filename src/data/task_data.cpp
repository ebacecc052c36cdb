#include "data/task_data.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/hash.h"
#include "data/symbol_tokenizer.h"

namespace effllm {
namespace {

const TaskOptions& common(const Choice<TaskInfo>& c) { return dynamic_cast<const TaskOptions&>(c.options()); }

std::string_view bytes_of(const std::vector<int32_t>& ids) {
  return {reinterpret_cast<const char*>(ids.data()), ids.size() * sizeof(int32_t)};
}

}  // namespace

TaskData::TaskData(const Choice<TaskInfo>& task, uint64_t seed)
    : choice_(task),
      seed_(seed),
      task_(task.build(seed)),
      settings_(fmt::format("{}, seed {}", to_flow_yaml(task.write()), seed)) {}

int64_t TaskData::samples(Split split) const {
  const TaskOptions& o = common(choice_);
  return split == Split::train ? o.train_samples : split == Split::val ? o.val_samples : o.test_samples;
}

Sample TaskData::sample(Split split, int64_t number) const {
  Draws draws(seed_, fmt::format("task.{}", info().name), static_cast<uint64_t>(number), static_cast<uint64_t>(split));
  return task_->sample(draws);
}

TokenizedText TaskData::text(Split split) const {
  int64_t count = samples(split);
  if (split == Split::train) count = count ? std::min(count, samples(Split::val)) : samples(Split::val);
  const int64_t tokens = task_->longest();
  TokenizedText t;
  t.kind = TextKind::symbols;
  for (int64_t i = 0; i < count; ++i) {
    const Sample s = sample(split, i);
    t.document_starts.push_back(i * tokens);
    t.samples.push_back({static_cast<int64_t>(s.tokens.size()), s.difficulty});
    append_row(s, tokens, t.tokens, t.labels);
  }
  t.tokens.push_back(0);
  t.labels.push_back(kIgnoredTarget);
  t.bytes = static_cast<int64_t>(t.tokens.size());
  return t;
}

std::unique_ptr<Tokenizer> TaskData::tokenizer() const {
  std::vector<std::string> symbols;
  for (int64_t id = 0; id < task_->vocab(); ++id) symbols.push_back(task_->symbol(static_cast<int32_t>(id)));
  return symbol_tokenizer(std::move(symbols));
}

std::string TaskData::sha256() const {
  Sha256 hash;
  for (const Split split : {Split::train, Split::val, Split::test}) {
    const int64_t all = samples(split), count = split == Split::train ? std::min(kHashed, all ? all : kHashed) : all;
    for (int64_t i = 0; i < count; ++i) {
      const Sample s = sample(split, i);
      hash.update(fmt::format("{} {}\n", to_string(split), s.tokens.size()));
      hash.update(bytes_of(s.tokens));
      hash.update(bytes_of(s.targets));
    }
  }
  return hash.hex();
}

TaskData TaskData::of_length(int64_t n) const {
  if (info().length.empty())
    throw ConfigError("samples of {} have one length: there is nothing to make longer", info().name);
  ConfigNode node = choice_.write();
  node.set(info().length, fmt::format("{}", n));
  if (const std::string least = fmt::format("min_{}", info().length); node.find(least))
    node.set(least, fmt::format("{}", n));
  return {all_tasks.read(node), seed_};
}

void append_row(const Sample& s, int64_t tokens, std::vector<int32_t>& inputs, std::vector<int32_t>& labels) {
  const auto own = static_cast<int64_t>(s.tokens.size());
  require(own >= 1 && own <= tokens && s.targets.size() == s.tokens.size(), "a sample of {} for a row of {}", own,
          tokens);
  inputs.insert(inputs.end(), s.tokens.begin(), s.tokens.end());
  labels.insert(labels.end(), s.targets.begin(), s.targets.end());
  inputs.insert(inputs.end(), static_cast<size_t>(tokens - own), 0);
  labels.insert(labels.end(), static_cast<size_t>(tokens - own), kIgnoredTarget);
}

}  // namespace effllm
