#include "sweep/judge.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/hash.h"
#include "base/text.h"
#include "config/yaml.h"
#include "sweep/arm_runs.h"
#include "sweep/settle.h"
#include "sweep/speedup.h"

namespace effllm {
namespace {

using nlohmann::json;
using Kind = ClaimMetric::Kind;

// What is held against it, out of one plan: that of the study, or that of its held-out seeds.
class Judge {
 public:
  Judge(const StudyFolder& folder, const json& plan) : folder_(folder), plan_(plan) {}

  Finding find(const ClaimOptions& c) const {
    const ClaimMetric& m = c.measure();
    if (m.kind == Kind::size) return of_sizes(c);
    const StudyTable t = compare_study(folder_, plan_, c.arms[1]);
    const ArmRow &first = row(t, c.arms[0]), &second = row(t, c.arms[1]);
    Finding f;
    f.seeds = t.seeds;
    // The reason that the second has stands in the first's.
    if (!first.comparison.reason.empty()) {
      f.reason = first.comparison.reason;
      return f;
    }
    m.kind == Kind::score ? by_scores(f, c, first, second) : by_speedup(f, c, t);
    return f;
  }

 private:
  static const ArmRow& row(const StudyTable& t, const std::string& arm) {
    return *std::ranges::find(t.arms, arm, &ArmRow::name);
  }

  Finding of_sizes(const ClaimOptions& c) const {
    double v[2] = {};
    for (int i : {0, 1})
      for (const json& a : plan_.at("arms"))
        if (a.at("name") == c.arms[static_cast<size_t>(i)]) v[i] = a.at(std::string(c.measure().field)).get<double>();
    Finding f;
    f.value = f.low = f.high = c.is_ratio() ? v[0] / v[1] : v[0] - v[1];
    if (std::isfinite(f.value))
      f.verdict = judged(c.region(), f.low, f.high);
    else
      f.reason = c.metric + " of the second arm is 0";
    return f;
  }

  // By seed; empty where a result has no such number.
  std::vector<double> scores(const ArmRow& arm, std::string_view field) const {
    json chosen = json::object();
    for (const auto& [key, value] : arm.chosen) chosen[key] = value;
    std::vector<double> all;
    for (const PointRuns& p : runs_of(folder_, plan_, arm.name)) {
      if (p.point != chosen) continue;
      for (const KeptRun& k : p.seeds) {
        const json& reported = k.result->at("reported");
        const auto v = reported.find(field);
        if (v == reported.end() || !v->is_number()) return {};
        all.push_back(v->get<double>());
      }
    }
    return all;
  }

  void by_scores(Finding& f, const ClaimOptions& c, const ArmRow& first, const ArmRow& second) const {
    std::vector<double> a = scores(first, c.measure().field), b = scores(second, c.measure().field);
    if (a.empty() || b.empty()) {
      f.reason = "results have no " + c.metric;
      return;
    }
    const bool logs = c.is_ratio();
    if (logs)
      for (auto* side : {&a, &b})
        for (double& v : *side) v = std::log(v);
    const Estimate e = first.paired ? paired_difference(a, b) : welch_difference(a, b);
    const double half = e.half_width(c.level);
    f.value = logs ? std::exp(e.value) : e.value;
    f.low = logs ? std::exp(e.value - half) : e.value - half;
    f.high = logs ? std::exp(e.value + half) : e.value + half;
    if (std::isfinite(f.low) && std::isfinite(f.high))
      f.verdict = judged(c.region(), f.low, f.high);
    else
      f.reason = "no interval: seeds have no spread in " + c.metric;
  }

  void by_speedup(Finding& f, const ClaimOptions& c, const StudyTable& t) const {
    const auto at = static_cast<size_t>(&row(t, c.arms[0]) - t.arms.data());
    const ArmSpeedups all = speedups_of(t, curves_of(folder_, plan_, t), c.level);
    for (const Speedup& s : all.at(at)) {
      if (to_string(s.budget) != c.measure().field) continue;
      f.value = s.factor, f.low = s.low, f.high = s.high;
      if (!s.none.empty())
        f.reason = s.none;
      else if (s.high == 0)
        f.reason = "no interval: seeds have no spread";
      else
        f.verdict = judged(c.region(), f.low, f.high);
    }
  }

  const StudyFolder& folder_;
  const json& plan_;
};

}  // namespace

std::string_view to_string(ClaimVerdict v) {
  constexpr std::string_view kNames[] = {"no verdict", "reproduced", "not reproduced", "undecided at this budget"};
  return kNames[static_cast<size_t>(v)];
}

ClaimVerdict judged(const ClaimOptions::Region& region, double low, double high) {
  if (low >= region.low && high <= region.high) return ClaimVerdict::reproduced;
  if (high < region.low || low > region.high) return ClaimVerdict::not_reproduced;
  return ClaimVerdict::undecided;
}

std::vector<JudgedClaim> judge_claims(const StudyFolder& folder) {
  const json plan = read_plan(folder);
  const auto confirm = read_object_if_there(folder.confirm());
  std::vector<JudgedClaim> all;
  try {
    json held_out = plan;
    if (confirm)
      held_out["runs"] = confirm->at("runs"), held_out["seeds"] = confirm->at("seeds"),
      held_out["tune"] = confirm->at("tune");
    for (const json& kept : plan.value("claims", json::array())) {
      JudgedClaim j;
      j.date = {kept.at("after_runs"), kept.value("of_runs", int64_t{0})};
      j.held_out_date = {kept.value("after_held_out", int64_t{0}), kept.value("of_held_out", int64_t{0})};
      read(j.claim, parse_config(kept.at("claim").get<std::string>(), "plan.json"), "a claim");
      j.found = Judge(folder, plan).find(j.claim);
      j.held_out = confirm && j.claim.measure().kind != Kind::size;
      if (j.held_out && j.found.verdict == ClaimVerdict::none)
        j.confirmed.reason = j.found.reason;  // what the study itself can't say its held-out seeds don't say either
      else if (j.held_out)
        j.confirmed = Judge(folder, held_out).find(j.claim);
      all.push_back(std::move(j));
    }
  } catch (const json::exception& e) {
    throw DataError("{}: a file of the study is damaged or of another version: {}", folder.path().string(), e.what());
  }
  return all;
}

std::string claims_hash(const json& plan) {
  std::string text;
  for (const json& kept : plan.value("claims", json::array())) text += kept.at("claim").get<std::string>() + "\n";
  return text.empty() ? "" : sha256(text);
}

}  // namespace effllm
