#include "sweep/held_out.h"

#include <fmt/format.h>

#include "sweep/arm_runs.h"
#include "sweep/compare.h"
#include "sweep/settle.h"

namespace effllm {
namespace {

using nlohmann::json;

constexpr int64_t kFirst = 1001;  // `seeds` ends at 1000

json chosen_point(const ArmRow& row) {
  if (row.scores.empty())
    throw ConfigError("--confirm: arm {}: {}; seeds are held out of what a whole study has chosen: run it first",
                      row.name, row.comparison.reason);
  json point = json::object();
  for (const auto& [key, value] : row.chosen) point[key] = value;
  return point;
}

}  // namespace

Plan held_out(const Plan& plan, const StudyFolder& folder) {
  if (plan.study.confirm == 0)
    throw_at(plan.study.mark, "--confirm: the study has no `confirm`, the number of held-out seeds");
  const StudyTable table = compare_study(folder, settled(folder, to_json(plan)), "");
  Plan held = plan;
  held.runs.clear();
  held.held_out = true;
  held.study.seeds = held.study.tune_seeds = plan.study.confirm;
  std::vector<const PlannedRun*> firsts;
  for (const ArmRow& row : table.arms) {
    if (row.comparison.reason == kAllDiverged || row.comparison.reason == kChosenDiverged)
      continue;  // nothing was chosen, and its claims have no verdict
    const json point = chosen_point(row);
    for (const PlannedRun& r : plan.runs)
      if (r.seed == 1 && plan.arms[r.arm].name == row.name && identity_of(plan, r).at("point") == point)
        firsts.push_back(&r);
  }
  for (int64_t i = 0; i < plan.study.confirm; ++i)
    for (const PlannedRun* first : firsts) held.runs.push_back(with_seed(plan, *first, kFirst + i));
  return held;
}

}  // namespace effllm
