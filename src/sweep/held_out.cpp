#include "sweep/held_out.h"

#include <fmt/format.h>

#include "sweep/arm_runs.h"

namespace effllm {
namespace {

using nlohmann::json;

constexpr int64_t kFirst = 1001;  // `seeds` ends at 1000

// bits/char where all results have it, as in the table.
std::string_view unit_of(const std::vector<PointRuns>& runs) {
  for (const PointRuns& p : runs)
    for (const KeptRun& k : p.seeds)
      if (k.result && !k.result->at("chosen_on").at("bits_per_char").is_number()) return "bits/byte";
  return "bits/char";
}

json chosen_point(const StudyFolder& folder, const json& kept, const std::string& arm) {
  const std::vector<PointRuns> runs = runs_of(folder, kept, arm);
  if (const std::string why = incomplete(runs); !why.empty())
    throw ConfigError("--confirm: arm {}: {}; seeds are held out of what a whole study has chosen: run it first", arm,
                      why);
  const Best best = best_of(runs, unit_of(runs));
  if (!best.runs) throw ConfigError("--confirm: arm {}: every run diverged", arm);
  return best.runs->point;
}

}  // namespace

Plan held_out(const Plan& plan, const StudyFolder& folder) {
  if (plan.study.confirm == 0)
    throw_at(plan.study.mark, "--confirm: the study has no `confirm`, the number of held-out seeds");
  const json kept = to_json(plan);
  Plan held = plan;
  held.runs.clear();
  held.held_out = true;
  held.study.seeds = plan.study.confirm;
  std::vector<const PlannedRun*> firsts;
  for (const PlannedArm& a : plan.arms) {
    const json point = chosen_point(folder, kept, a.name);
    for (const PlannedRun& r : plan.runs)
      if (r.seed == 1 && plan.arms[r.arm].name == a.name && identity_of(plan, r).at("point") == point)
        firsts.push_back(&r);
  }
  for (int64_t i = 0; i < plan.study.confirm; ++i)
    for (const PlannedRun* first : firsts) held.runs.push_back(with_seed(plan, *first, kFirst + i));
  return held;
}

}  // namespace effllm
