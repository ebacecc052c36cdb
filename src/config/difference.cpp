#include "config/difference.h"

#include <fmt/format.h>

#include <algorithm>

namespace effllm {
namespace {

std::string shown(const ConfigNode* n) { return n ? to_flow_yaml(*n) : std::string(kNotSet); }

void compare(const ConfigNode* before, const ConfigNode* after, const std::string& path,
             std::vector<ConfigChange>& found) {
  if (before && after && before->is_map() && after->is_map()) {
    const auto inside = [&](const std::string& key) { return path.empty() ? key : path + "." + key; };
    for (const auto& e : before->entries()) compare(&e.value, after->find(e.key), inside(e.key), found);
    for (const auto& e : after->entries())
      if (!before->find(e.key)) compare(nullptr, &e.value, inside(e.key), found);
  } else if (before && after && before->is_list() && after->is_list()) {
    const auto &a = before->items(), &b = after->items();
    for (size_t i = 0; i < std::max(a.size(), b.size()); ++i)
      compare(i < a.size() ? &a[i] : nullptr, i < b.size() ? &b[i] : nullptr, fmt::format("{}[{}]", path, i), found);
  } else if (shown(before) != shown(after)) {
    found.push_back({path, shown(before), shown(after)});
  }
}

}  // namespace

std::string ConfigChange::text() const { return fmt::format("{}: {} -> {}", key, before, after); }

std::vector<ConfigChange> differences(const ConfigNode& before, const ConfigNode& after, const std::string& path) {
  std::vector<ConfigChange> found;
  compare(&before, &after, path, found);
  return found;
}

}  // namespace effllm
