#include "train/shards.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "support/models.h"
#include "train/run_config.h"

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

TEST_CASE("shards: sequences that belong together stay together, unless a configuration says how many") {
  for (int64_t batch : {1, 2, 3, 5, 8, 12, 16, 17, 20, 24, 64})
    for (int64_t tokens : {1, 16, 100, 512, 3000})
      for (int64_t lanes : {0, 1, 2, 3, 4}) {
        const ShardPlan plan = plan_shards(batch, tokens, lanes, 0, 5'000'000, 8);
        CAPTURE(batch);
        CAPTURE(lanes);
        const auto per_lane = batch / static_cast<int64_t>(plan.lanes.size());
        if (lanes == 0) CHECK(per_lane >= std::min<int64_t>(8, batch));
        int64_t next = 0;
        for (const auto& lane : plan.lanes)
          for (const Shard& s : lane) {
            REQUIRE(s.first == next);
            next += s.sequences;
            CHECK(s.sequences >= std::min<int64_t>(8, per_lane));
            CHECK(s.sequences <= std::max<int64_t>(512 / tokens, 15));
          }
        CHECK(next == batch);
      }
  CHECK(plan_shards(16, 256, 0, 0, 5'000'000, 8).lanes.size() == 2);
  CHECK(plan_shards(64, 256, 0, 0, 5'000'000, 8).lanes.size() == 4);
  CHECK(plan_shards(16, 256, 0, 0, 5'000'000, 8).shard_tokens == 8 * 256);
  CHECK(plan_shards(16, 256, 4, 0, 5'000'000, 8).lanes.size() == 4);
  CHECK(plan_shards(16, 256, 0, 256, 5'000'000, 8).shard_tokens == 256);
  CHECK(plan_shards(16, 16, 0, 0, 5'000'000, 8).shard_tokens == 8 * 16);
}

TEST_CASE("shards: a model asks for as many sequences as any of its layers") {
  const auto plan = [](const char* first, const char* second) {
    const auto model = test::build_model(
        std::string("{d_model: 8, layers: [{mixer: {type: ") + first + "}}, {mixer: {type: " + second + "}}]}", 11);
    TrainOptions train;
    train.batch = 32;
    train.context = 256;
    train.lanes = 2;
    return plan_shards(train, *model);
  };
  CHECK(plan("min_gru", "min_gru").shard_tokens == 512);
  CHECK(plan("min_gru", "lstm").shard_tokens == 8 * 256);
  CHECK(plan("gru", "min_gru").shard_tokens == 8 * 256);
  CHECK(plan("min_gru", "parallel, branches: [{type: min_gru}, {type: lstm}]").shard_tokens == 8 * 256);
}
