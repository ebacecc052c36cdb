#include "train/shards.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <vector>

using namespace effllm;

TEST_CASE("shards: every row of the batch is in one shard, in order") {
  for (int64_t batch : {1, 2, 3, 5, 8, 12, 17, 64})
    for (int64_t tokens : {1, 16, 100, 512, 3000})
      for (int64_t lanes : {0, 1, 2, 3, 4, 7, 100})
        for (int64_t shard_tokens : {0, 1, 64, 1000, 1 << 20}) {
          const ShardPlan plan = plan_shards(batch, tokens, lanes, shard_tokens, 1000);
          int64_t next = 0, largest = 0;
          for (const auto& lane : plan.lanes)
            for (const Shard& s : lane) {
              REQUIRE(s.first == next);
              REQUIRE(s.sequences >= 1);
              next += s.sequences;
              largest = std::max(largest, s.sequences * tokens);
            }
          CHECK(next == batch);
          CHECK(plan.shard_tokens == largest);
          CHECK(largest <= std::max(shard_tokens ? shard_tokens : 512, tokens));
        }
}

TEST_CASE("shards: lanes divide the batch and are equally long, their shards differ by one sequence at most") {
  for (int64_t batch : {1, 6, 12, 13, 30})
    for (int64_t lanes : {0, 1, 2, 4, 5, 12, 40}) {
      const ShardPlan plan = plan_shards(batch, 10, lanes, 30, 1000);
      const auto n = static_cast<int64_t>(plan.lanes.size());
      CHECK(n <= (lanes ? lanes : 2));
      CHECK(batch % n == 0);
      for (const auto& lane : plan.lanes) {
        int64_t rows = 0, least = batch, most = 0;
        for (const Shard& s : lane) {
          rows += s.sequences;
          least = std::min(least, s.sequences), most = std::max(most, s.sequences);
        }
        CHECK(rows == batch / n);
        CHECK(most - least <= 1);
        CHECK(most <= 3);
      }
    }
}

TEST_CASE("shards: two lanes for small models, four for others, where nothing is said") {
  CHECK(plan_shards(16, 64, 0, 0, 1'999'999).lanes.size() == 2);
  CHECK(plan_shards(16, 64, 0, 0, 2'000'000).lanes.size() == 4);
  CHECK(plan_shards(6, 64, 0, 0, 5'000'000).lanes.size() == 3);
  CHECK(plan_shards(1, 64, 0, 0, 5'000'000).lanes.size() == 1);
  CHECK(plan_shards(16, 64, 8, 0, 10).lanes.size() == 8);
}

TEST_CASE("shards: a sequence longer than a shard is a shard of its own") {
  const ShardPlan plan = plan_shards(4, 2048, 2, 512, 1000);
  for (const auto& lane : plan.lanes) {
    REQUIRE(lane.size() == 2);
    CHECK(lane[0].sequences == 1);
  }
  CHECK(plan.shard_tokens == 2048);
}
