#include "train/shards.h"

#include <algorithm>

#include "model/language_model.h"
#include "train/run_config.h"

namespace effllm {
namespace {

constexpr int64_t kShardTokens = 512;
constexpr int64_t kTiny = 2'000'000;  // parameters: below, adding lanes up costs more than a better balance saves

}  // namespace

ShardPlan plan_shards(int64_t batch, int64_t tokens, int64_t lanes, int64_t shard_tokens, int64_t parameters,
                      int64_t together) {
  if (lanes == 0) lanes = std::min<int64_t>(parameters < kTiny ? 2 : 4, std::max<int64_t>(1, batch / together));
  lanes = std::min(lanes, batch);
  while (batch % lanes != 0) --lanes;
  const int64_t per_lane = batch / lanes, least = shard_tokens == 0 ? std::min(together, per_lane) : 1;
  if (shard_tokens == 0) shard_tokens = kShardTokens;
  const int64_t most = std::clamp(shard_tokens / tokens, int64_t{1}, per_lane);
  const int64_t shards = std::min((per_lane + most - 1) / most, per_lane / least);
  ShardPlan plan;
  for (int64_t lane = 0; lane < lanes; ++lane) {
    auto& list = plan.lanes.emplace_back();
    for (int64_t s = 0; s < shards; ++s) {  // sizes differ by one sequence at most
      const int64_t from = per_lane * s / shards, to = per_lane * (s + 1) / shards;
      list.push_back({lane * per_lane + from, to - from});
      plan.shard_tokens = std::max(plan.shard_tokens, (to - from) * tokens);
    }
  }
  return plan;
}

ShardPlan plan_shards(const TrainOptions& train, const LanguageModel& model) {
  return plan_shards(train.batch, train.context, train.lanes, train.shard_tokens, model.params().count(),
                     model.sequences_together());
}

}  // namespace effllm
