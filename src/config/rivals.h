// Keys of which a map has one: whoever sets another takes the place of the one that was there.
#pragma once
#include <span>
#include <string_view>

namespace effllm {

// The keys that end a run, of `train`.
inline constexpr std::string_view kHorizons[] = {"max_steps", "max_tokens", "max_epochs", "max_flops", "max_time"};

// Those of which a map that stands at `key` has one; none of any other map.
inline std::span<const std::string_view> rivals_in(std::string_view key) {
  return key == "train" ? std::span<const std::string_view>(kHorizons) : std::span<const std::string_view>();
}

}  // namespace effllm
