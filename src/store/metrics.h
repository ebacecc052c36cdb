// The metrics that a journal may hold: one place for names, units and what they mean.
#pragma once
#include <span>
#include <string_view>

namespace effllm {

// Units as in UDUNITS where it has them; "1" is dimensionless, and "" says that nobody told us.
struct MetricInfo {
  std::string_view name, units, long_name;
};

std::span<const MetricInfo> all_metrics();
const MetricInfo* find_metric(std::string_view name);  // null where it isn't among them

}  // namespace effllm
