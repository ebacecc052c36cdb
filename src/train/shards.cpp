#include "train/shards.h"

#include <algorithm>

namespace effllm {
namespace {

constexpr int64_t kShardTokens = 512;
constexpr int64_t kTiny = 2'000'000;  // parameters: below, adding lanes up costs more than a better balance saves

}  // namespace

ShardPlan plan_shards(int64_t batch, int64_t tokens, int64_t lanes, int64_t shard_tokens, int64_t parameters) {
  if (lanes == 0) lanes = parameters < kTiny ? 2 : 4;
  lanes = std::min(lanes, batch);
  while (batch % lanes != 0) --lanes;
  if (shard_tokens == 0) shard_tokens = kShardTokens;
  const int64_t per_lane = batch / lanes, most = std::clamp(shard_tokens / tokens, int64_t{1}, per_lane);
  const int64_t shards = (per_lane + most - 1) / most;
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

}  // namespace effllm
