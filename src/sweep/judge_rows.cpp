#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "sweep/judge.h"

namespace effllm {
namespace {

using nlohmann::json;

std::string found_text(const Finding& f) {
  if (f.verdict == ClaimVerdict::none) return "-";
  if (f.low == f.high) return fmt::format("{:.5g}", f.value);
  return fmt::format("{:.4f} [{:.4f}, {:.4f}]", f.value, f.low, f.high);
}

std::string verdict_text(const Finding& f, const JudgedClaim::Date& date) {
  const std::string late = late_text(date);
  return std::string(to_string(f.verdict)) + (f.reason.empty() ? "" : ": " + f.reason) +
         (late.empty() ? "" : " (" + late + ")");
}

json finding_json(const Finding& f) {
  const bool has = f.verdict != ClaimVerdict::none;
  return {{"verdict", std::string(to_string(f.verdict))}, {"reason", f.reason},
          {"value", has ? json(f.value) : json()},        {"low", has ? json(f.low) : json()},
          {"high", has ? json(f.high) : json()},          {"seeds", f.seeds}};
}

}  // namespace

std::string late_text(const JudgedClaim::Date& date) {
  if (date.ended == 0) return "";
  return fmt::format(
      "written after {} had ended: not a prediction",
      date.of > 0 ? fmt::format("{} of {}", date.ended, counted(date.of, "run")) : counted(date.ended, "run"));
}

std::vector<std::vector<std::string>> rows_of(const std::vector<JudgedClaim>& claims) {
  if (claims.empty()) return {};
  const bool held_out = std::ranges::any_of(claims, &JudgedClaim::held_out);
  std::vector<std::vector<std::string>> rows = {{"claim", "predicted", "found", "verdict"}};
  if (held_out) rows[0].insert(rows[0].end(), {"held-out seeds", "verdict of these"});
  for (const JudgedClaim& j : claims) {
    std::vector<std::string> row = {j.claim.name, j.claim.prediction(), found_text(j.found),
                                    verdict_text(j.found, j.date)};
    if (held_out)
      row.insert(row.end(), {j.held_out ? found_text(j.confirmed) : "-",
                             j.held_out ? verdict_text(j.confirmed, j.held_out_date) : "-"});
    rows.push_back(std::move(row));
  }
  return rows;
}

json to_json(const std::vector<JudgedClaim>& claims) {
  json all = json::array();
  for (const JudgedClaim& j : claims)
    all.push_back({{"claim", j.claim.name},
                   {"source", j.claim.source},
                   {"statement", j.claim.statement},
                   {"prediction", j.claim.prediction()},
                   {"metric", j.claim.metric},
                   {"arms", j.claim.arms},
                   {"level", j.claim.level},
                   {"is_prediction", j.date.ended == 0},
                   {"after_runs", j.date.ended},
                   {"of_runs", j.date.of},
                   {"after_held_out", j.held_out_date.ended},
                   {"of_held_out", j.held_out_date.of},
                   {"found", finding_json(j.found)},
                   {"confirmed", j.held_out ? finding_json(j.confirmed) : json()}});
  return all;
}

std::vector<std::string> footnotes(const std::vector<JudgedClaim>& claims) {
  std::vector<std::string> lines;
  if (claims.empty()) return lines;
  lines.emplace_back(
      "claims: reproduced where the whole interval lies where the claim is true, not reproduced where none of it does; "
      "each by itself, at its own level");
  for (const JudgedClaim& j : claims)
    lines.push_back(fmt::format("{}: {} ({}{})", j.claim.name, j.claim.statement, j.claim.source,
                                j.claim.measure().kind == ClaimMetric::Kind::size ? ""
                                : j.found.seeds == 1                              ? "; one seed has no interval"
                                                     : fmt::format("; {} % interval", shortest(100 * j.claim.level))));
  return lines;
}

}  // namespace effllm
