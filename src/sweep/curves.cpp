#include "sweep/curves.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "store/journal.h"
#include "store/run_folder.h"

namespace effllm {
namespace {

using nlohmann::json;

RunCurve curve_of(const std::filesystem::path& journal, const StudyTable& t, double flops_per_token) {
  const JournalData data = read_journal(journal);
  const JournalTable* rows = data.find(evaluation_kind(t.chosen_on));
  if (!rows) return {};
  const bool tokens_alone = t.unit == "bits/token";  // of symbols that are no text: the journal has nats
  const auto* loss = rows->find(tokens_alone ? "loss" : t.unit == "bits/char" ? "bpc" : "bpb");
  const auto *tokens = rows->find("tokens"), *seconds = rows->find("wall_s");
  if (!loss || !tokens || !seconds) return {};
  RunCurve curve;
  for (size_t i = 0; i < rows->step.size(); ++i)
    if (std::isfinite((*loss)[i]) && std::isfinite((*tokens)[i]))
      curve.push_back({.step = rows->step[i],
                       .tokens = (*tokens)[i],
                       .flops = flops_per_token * (*tokens)[i],
                       .seconds = (*seconds)[i],
                       .loss = tokens_alone ? (*loss)[i] / std::numbers::ln2 : (*loss)[i]});
  return curve;
}

}  // namespace

std::string_view to_string(Budget b) {
  constexpr std::string_view kNames[] = {"tokens", "FLOPs", "seconds"};
  return kNames[static_cast<size_t>(b)];
}

double CurvePoint::spent(Budget b) const { return b == Budget::tokens ? tokens : b == Budget::flops ? flops : seconds; }

std::vector<ArmCurves> curves_of(const StudyFolder& folder, const json& plan, const StudyTable& t) {
  std::vector<ArmCurves> all;
  for (const ArmRow& row : t.arms) {
    ArmCurves arm{.arm = row.name, .seeds = {}, .none = {}};
    json chosen = json::object();
    for (const auto& [key, value] : row.chosen) chosen[key] = value;
    for (const json& r : plan.at("runs")) {
      if (row.scores.empty() || r.at("arm") != row.name || r.at("point") != chosen) continue;
      const std::filesystem::path journal = RunFolder(folder.run(r.at("run"))).journal();
      std::error_code error;
      if (!std::filesystem::exists(journal, error)) {
        arm.none = journal.string() + " is not there";
        break;
      }
      arm.seeds.push_back(curve_of(journal, t, row.flops_per_token));
      if (arm.seeds.back().empty()) arm.none = journal.string() + " has no evaluation on " + t.chosen_on;
    }
    if (row.scores.empty()) arm.none = row.comparison.reason;
    if (!arm.none.empty()) arm.seeds.clear();
    all.push_back(std::move(arm));
  }
  return all;
}

MeanCurve mean_curve(const std::vector<RunCurve>& seeds, Budget budget) {
  MeanCurve m;
  if (seeds.empty()) return m;
  for (const CurvePoint& first : seeds.front()) {
    double spent = 0, sum = 0, low = first.loss, high = first.loss;
    bool all = true;
    for (const RunCurve& seed : seeds) {
      const auto p = std::ranges::find(seed, first.step, &CurvePoint::step);
      all = all && p != seed.end();
      if (!all) break;
      spent += p->spent(budget), sum += p->loss;
      low = std::min(low, p->loss), high = std::max(high, p->loss);
    }
    if (!all) continue;
    const auto n = static_cast<double>(seeds.size());
    m.spent.push_back(spent / n), m.mean.push_back(sum / n), m.low.push_back(low), m.high.push_back(high);
  }
  return m;
}

}  // namespace effllm
