// The small world with a run in it, runs/tiny.
#pragma once
#include <algorithm>

#include "base/json.h"
#include "cli/system.h"

namespace effllm::test {

// Every key of `want` has its value in `got`.
inline void check_has(const nlohmann::json& got, const nlohmann::json& want) {
  for (const auto& [key, value] : want.items()) CHECK_MESSAGE(got.at(key) == value, key);
}

struct TrainedWorld : World {
  explicit TrainedWorld(const Words& changes = {"train.max_steps=60", "train.eval_every=30"}) {
    ok(with({"train", "tiny.yaml", "-q"}, sets(changes)));
  }
  // The document that a command writes with --json.
  nlohmann::json read(const Words& words, const Surroundings* other = nullptr) const {
    const Ended r = ok(with(words, {"--json"}), other);
    CHECK(std::ranges::count(r.out, '\n') == 1);
    return nlohmann::json::parse(r.out);
  }
};

}  // namespace effllm::test
