// The small world with a run in it, runs/tiny.
#pragma once
#include <algorithm>

#include "base/json.h"
#include "cli/system.h"

namespace effllm::test {

struct TrainedWorld : World {
  TrainedWorld() {
    const Ended r = effllm({"train", "tiny.yaml", "-q", "--set", "train.max_steps=60", "--set", "train.eval_every=30"});
    REQUIRE_MESSAGE(r.code == 0, r.err);
  }
  // The document that a command writes with --json.
  nlohmann::json read(std::vector<std::string> words) const {
    words.emplace_back("--json");
    const Ended r = effllm(words);
    REQUIRE_MESSAGE(r.code == 0, r.err);
    CHECK(std::ranges::count(r.out, '\n') == 1);
    return nlohmann::json::parse(r.out);
  }
};

}  // namespace effllm::test
