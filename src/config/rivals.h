// Keys of which a map has one: whoever sets another takes the place of the one that was there.
#pragma once
#include <algorithm>
#include <span>
#include <string_view>

#include "config/node.h"

namespace effllm {

// The keys that end a run, of `train`.
inline constexpr std::string_view kHorizons[] = {"max_steps", "max_tokens", "max_epochs", "max_flops", "max_time"};

// Those of which a map that stands at `key` has one; none of any other map.
inline std::span<const std::string_view> rivals_in(std::string_view key) {
  return key == "train" ? std::span<const std::string_view>(kHorizons) : std::span<const std::string_view>();
}

// Takes out of the map at `place` what `key` takes the place of.
inline void drop_rivals(ConfigNode& map, std::string_view place, std::string_view key) {
  const auto rivals = rivals_in(place);
  if (std::ranges::find(rivals, key) == rivals.end()) return;
  for (const std::string_view r : rivals)
    if (r != key) map.erase(r);
}

}  // namespace effllm
