#include "sweep/settle.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "sweep/arm_runs.h"

namespace effllm {
namespace {

using nlohmann::json;

int64_t tune_seeds_of(const json& plan) { return plan.value("tune_seeds", plan.at("seeds").get<int64_t>()); }

// What the runs of an arm that choose have come to.
struct ArmChoice {
  Need others = Need::open;  // of the other seeds: open or blocked, unwanted where nothing can be chosen, or wanted
  json point;
};

ArmChoice choice_of(const StudyFolder& folder, const json& choosing, const std::string& arm) {
  const std::vector<PointRuns> runs = runs_of(folder, choosing, arm);
  if (!incomplete(runs).empty()) {
    const bool failed = std::ranges::any_of(runs, [](const PointRuns& p) {
      return std::ranges::any_of(p.seeds, [](const KeptRun& k) { return k.failure && !k.diverged(); });
    });
    return {failed ? Need::blocked : Need::open, {}};
  }
  const Best best = best_of(runs, unit_of(runs));
  return best.runs ? ArmChoice{Need::wanted, best.runs->point} : ArmChoice{Need::unwanted, {}};
}

}  // namespace

std::vector<Need> needs_of(const StudyFolder& folder, const json& plan) {
  const json& runs = plan.at("runs");
  const int64_t choose = tune_seeds_of(plan);
  if (choose >= plan.at("seeds").get<int64_t>()) return std::vector<Need>(runs.size(), Need::wanted);
  json choosing = {{"runs", json::array()}};
  for (const json& r : runs)
    if (r.at("seed") <= choose) choosing["runs"].push_back(r);
  std::map<std::string, ArmChoice> choices;
  std::vector<Need> needs;
  for (const json& r : runs) {
    if (r.at("seed") <= choose) {
      needs.push_back(Need::wanted);
      continue;
    }
    const std::string arm = r.at("arm");
    auto choice = choices.find(arm);
    if (choice == choices.end()) choice = choices.emplace(arm, choice_of(folder, choosing, arm)).first;
    const auto& [others, point] = choice->second;
    needs.push_back(others == Need::wanted && r.at("point") != point ? Need::unwanted : others);
  }
  return needs;
}

bool counts(const Plan& plan, const std::vector<Need>& needs, size_t run) {
  return needs[run] == Need::wanted || (needs[run] == Need::open && plan.runs[run].point == 0);
}

json settled(const StudyFolder& folder, json plan) {
  const std::vector<Need> needs = needs_of(folder, plan);
  json runs = json::array();
  std::set<std::string> open;
  for (size_t i = 0; i < needs.size(); ++i) {
    json r = plan["runs"][i];
    if (needs[i] == Need::unwanted) continue;
    if (needs[i] != Need::wanted) {
      r["run"] = fmt::format("{}.(chosen).s{}", r["arm"].get<std::string>(), r["seed"].get<int64_t>());
      if (!open.insert(r["run"]).second) continue;
    }
    runs.push_back(std::move(r));
  }
  plan["runs"] = std::move(runs);
  return plan;
}

nlohmann::json read_plan(const StudyFolder& folder) {
  auto plan = read_object_if_there(folder.plan());
  if (!plan)
    throw DataError("{} is no folder of a study: it has no plan.json; `effllm sweep STUDY.yaml -o FOLDER` makes one",
                    folder.path().string());
  return settled(folder, std::move(*plan));
}

}  // namespace effllm
