#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>

#include "base/text.h"
#include "kernels/parallel.h"
#include "model/language_model.h"
#include "nn/transposed.h"
#include "train/run.h"

namespace effllm {
namespace {

// What the process holds before it has a model: code, libraries and what they compile at run time.
constexpr double kProgram = 28e6;

// What one thread's pool takes from the system for a shard of the plan: its forward and backward on shapes alone.
double shard_bytes(const RunConfig& config, int64_t vocab, int64_t sequences) {
  LanguageModel model(config.model, vocab);
  model.params().as_meta(DType::f32);
  const MetaMode meta;
  BufferPool& pool = BufferPool::local();
  pool.forget_meta();
  {
    Tape tape;
    Context cx;
    cx.phase = Phase::train;
    const Tensor ids = Tensor::dense({sequences, config.train.context}, DType::i32);
    Tensor loss;
    {
      const Tape::Recording recording(tape);
      loss = model.loss(ids, ids, 1, cx);
    }
    tape.backward(loss, Tensor::dense({1}, DType::f64));
  }
  return static_cast<double>(pool.meta_reserved_bytes());
}

}  // namespace

double predicted_bytes(const RunConfig& config, int64_t vocab, int workers) {
  LanguageModel model(config.model, vocab);
  model.params().as_meta(DType::f32);
  const ShardPlan plan = plan_shards(config.train, model);
  double transposed = 0;
  if (TransposedWeights::pay(config.train.batch * config.train.context))
    for (const Parameter* p : model.params().sorted())
      transposed += p->traits.dense ? static_cast<double>(p->extent) : 0;
  // What rows remember from step to step, and what they did before a step that may be left out.
  const double carried =
      config.train.carry_state ? 2.0 * static_cast<double>(config.train.batch * model.state_bytes(1)) : 0;
  const auto lanes = static_cast<double>(plan.lanes.size());
  const double slabs = 4 * (static_cast<double>(model.params().slab_elements()) * (3 + lanes) + transposed);
  return kProgram + slabs + carried +
         std::min<double>(workers, lanes) * shard_bytes(config, vocab, plan.shard_tokens / config.train.context);
}

double memory_limit() {
  double limit = static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGE_SIZE));
  std::ifstream in("/sys/fs/cgroup/memory.max");
  double cgroup = 0;
  if (in >> cgroup && cgroup > 0) limit = std::min(limit, cgroup);
  return limit;
}

}  // namespace effllm
