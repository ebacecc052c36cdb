// Where two configurations differ, key by key.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "config/node.h"

namespace effllm {

inline constexpr std::string_view kNotSet = "(not set)";

struct ConfigChange {
  std::string key;            // "model.layers[1].mixer.heads", as an override would name it
  std::string before, after;  // in flow style; kNotSet where there is none
  std::string text() const;   // "optim.lr: 0.003 -> 0.001"
};

// In the order of `before`, then what only `after` has. Maps and lists are gone into; marks and quotes that nothing
// needs are no difference. `path` is where the two stand.
std::vector<ConfigChange> differences(const ConfigNode& before, const ConfigNode& after, const std::string& path = "");

}  // namespace effllm
