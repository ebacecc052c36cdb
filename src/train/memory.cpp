#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>

#include "base/text.h"
#include "kernels/parallel.h"
#include "model/describe.h"
#include "train/run.h"

namespace effllm {
namespace {

// Of what a shard keeps, how much its gradients in flight and its transient buffers add at the peak.
constexpr double kTransient = 0.6;

}  // namespace

double predicted_bytes(const RunConfig& config, int64_t vocab, int workers) {
  const ModelCost cost = count_cost(config.model, vocab, config.train.context);
  const ShardPlan plan = plan_shards(config.train.batch, config.train.context, config.train.lanes,
                                     config.train.shard_tokens, cost.total.parameters);
  const auto lanes = static_cast<double>(plan.lanes.size());
  const double slabs = static_cast<double>(cost.total.parameters) * 4 * (3 + lanes);  // values, two moments, gradients
  const double shard =
      cost.kept_bytes * static_cast<double>(plan.shard_tokens) / static_cast<double>(config.train.context);
  return slabs + std::min<double>(workers, lanes) * shard * (1 + kTransient);
}

double memory_limit() {
  double limit = static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGE_SIZE));
  std::ifstream in("/sys/fs/cgroup/memory.max");
  double cgroup = 0;
  if (in >> cgroup && cgroup > 0) limit = std::min(limit, cgroup);
  return limit;
}

void Run::check_memory() const {
  const double need = predicted_bytes(config_, tokenizer_->vocab_size(), threads()), have = memory_limit();
  if (need > 0.9 * have)
    throw MemoryError(
        "training would need about {} of {}; lower train.batch's shard (train.shard_tokens), train.context or "
        "model.d_model",
        human_bytes(need), human_bytes(have));
}

}  // namespace effllm
