#include "tasks/recall.h"

#include <fmt/format.h>

namespace effllm::tasks {

Sample Recall::sample(Draws& draws) const {
  std::vector<int32_t> value_of(static_cast<size_t>(keys), kIgnoredTarget), come;
  const int64_t certain = draws.below(pairs - 1);  // no noise: some key must have come
  Sample s;
  const auto add = [&](int32_t id, int32_t target) {
    s.tokens.push_back(id);
    s.targets.push_back(target);
  };
  for (int64_t i = 0; i + 1 < pairs; ++i) {
    if (noise > 0 && i != certain && draws.chance(noise_share)) {
      for (int j = 0; j < 2; ++j) add(static_cast<int32_t>(keys + values + draws.below(noise)), kIgnoredTarget);
      continue;
    }
    const auto key = static_cast<int32_t>(draws.below(keys));
    int32_t& value = value_of[static_cast<size_t>(key)];
    add(key, value);
    if (value == kIgnoredTarget) {
      value = static_cast<int32_t>(keys + draws.below(values));
      come.push_back(key);
    }
    add(value, kIgnoredTarget);
  }
  const int32_t last = draws.one_of(come);
  add(last, value_of[static_cast<size_t>(last)]);
  return s;
}

std::string Recall::symbol(int32_t id) const {
  return id < keys            ? fmt::format("k{}", id)
         : id < keys + values ? fmt::format("v{}", id - keys)
                              : fmt::format("n{}", id - keys - values);
}

}  // namespace effllm::tasks
