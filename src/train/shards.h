// How a batch is cut up. A shard is whole sequences, the unit that one thread takes forward and backward; a lane is
// shards whose gradients add up in order; lanes are added in a fixed binary tree. The cut follows from the
// configuration alone, so that the bits don't depend on how many threads share the work.
#pragma once
#include <cstdint>
#include <vector>

namespace effllm {

struct TrainOptions;
class LanguageModel;

struct Shard {
  int64_t first, sequences;  // rows of the batch
};

struct ShardPlan {
  std::vector<std::vector<Shard>> lanes;
  int64_t shard_tokens = 0;  // of the largest shard
};

// Cuts `batch` sequences of `tokens` tokens. `lanes` 0: chosen (2 below two million parameters, else 4), at most
// `batch` and dividing it. `shard_tokens` 0: 512. A shard holds at least one sequence; where its size is not given, at
// least `together` (see Layer) as far as the lane has them, and chosen lanes have them if the batch does.
ShardPlan plan_shards(int64_t batch, int64_t tokens, int64_t lanes, int64_t shard_tokens, int64_t parameters,
                      int64_t together = 1);
// That of a configuration.
ShardPlan plan_shards(const TrainOptions& train, const LanguageModel& model);

}  // namespace effllm
