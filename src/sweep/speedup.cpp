#include "sweep/speedup.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "stats/falling.h"

namespace effllm {
namespace {

using nlohmann::json;

constexpr double kWidest = 100;  // of an interval that still tells an order of magnitude

struct Columns {
  std::vector<double> spent, loss;
};

Columns columns_of(const RunCurve& run, Budget budget) {
  Columns c;
  for (const CurvePoint& p : run) c.spent.push_back(p.spent(budget)), c.loss.push_back(p.loss);
  return c;
}

bool can_be_read(const Columns& c) {
  return c.spent.size() > 1 && c.spent.front() > 0 && std::ranges::is_sorted(c.spent, std::less_equal<>());
}

// Of every run; empty where one has too little to read.
std::vector<Columns> all_columns(const std::vector<RunCurve>& runs, Budget budget) {
  std::vector<Columns> all;
  for (const RunCurve& r : runs) {
    all.push_back(columns_of(r, budget));
    if (!can_be_read(all.back())) return {};
  }
  return all;
}

double least_for_all(const std::vector<Columns>& a, const std::vector<Columns>& b) {
  double level = -INFINITY;
  for (const auto* side : {&a, &b})
    for (const Columns& c : *side) level = std::max(level, falling_fit(c.loss).back());
  return level;
}

// log of what each run had spent there; empty where one began below it.
std::vector<double> logs_at(const std::vector<Columns>& runs, double level) {
  std::vector<double> logs;
  for (const Columns& c : runs) {
    const auto x = first_reached(c.spent, c.loss, level);
    if (!x) return {};
    logs.push_back(std::log(*x));
  }
  return logs;
}

// Of the logarithm of a factor, how much one side can make of it: from the first evaluation to the last, over seeds.
double mean_reach(const std::vector<Columns>& runs) {
  double sum = 0;
  for (const Columns& c : runs) sum += std::log(c.spent.back() / c.spent.front());
  return sum / static_cast<double>(runs.size());
}

const ArmRow* baseline_of(const StudyTable& t) {
  const auto it = std::ranges::find(t.arms, true, &ArmRow::baseline);
  return it == t.arms.end() ? nullptr : &*it;
}

std::string cell(const Speedup& s) {
  if (!s.none.empty()) return "-";
  if (s.undetermined) return "undetermined";
  if (s.high == 0) return fmt::format("{:.2f}", s.factor);
  return fmt::format("{:.2f} [{:.2f}, {:.2f}]", s.factor, s.low, s.high);
}

}  // namespace

Speedup speedup_of(const std::vector<RunCurve>& arm, const std::vector<RunCurve>& baseline, bool paired, Budget budget,
                   double level) {
  Speedup s{.budget = budget, .none = {}};
  const std::vector<Columns> a = all_columns(arm, budget), b = all_columns(baseline, budget);
  if (a.empty() || b.empty()) {
    s.none = "fewer than two evaluations of a run: a lower train.eval_every has more";
    return s;
  }
  s.loss = least_for_all(a, b);
  const std::vector<double> of_arm = logs_at(a, s.loss), of_baseline = logs_at(b, s.loss);
  if (of_arm.empty() || of_baseline.empty()) {
    s.none = fmt::format("the curves don't overlap: the first evaluation of {} is below {:.4f} already",
                         of_arm.empty() ? "the arm" : "the baseline", s.loss);
    return s;
  }
  const bool pairs = paired && of_arm.size() == of_baseline.size();
  const Estimate e = pairs ? paired_difference(of_baseline, of_arm) : welch_difference(of_baseline, of_arm);
  s.factor = std::exp(e.value);
  if (e.has_spread()) {
    const double half = e.half_width(level);
    s.low = std::exp(e.value - half), s.high = std::exp(e.value + half);
    s.undetermined = 2 * half > std::min(std::log(kWidest), mean_reach(a) + mean_reach(b));
  }
  return s;
}

ArmSpeedups speedups_of(const StudyTable& t, const std::vector<ArmCurves>& curves, double level) {
  ArmSpeedups all(t.arms.size());
  const ArmRow* base = baseline_of(t);
  if (!base) return all;
  const ArmCurves& reference = curves.at(static_cast<size_t>(base - t.arms.data()));
  for (size_t i = 0; i < t.arms.size(); ++i) {
    if (t.arms[i].baseline) continue;
    const ArmCurves& arm = curves.at(i);
    for (const Budget b : kBudgets) {
      Speedup s{.budget = b, .none = arm.none.empty() ? reference.none : arm.none};
      if (t.arms[i].apart) s.none = t.arms[i].comparison.reason;
      if (s.none.empty()) s = speedup_of(arm.seeds, reference.seeds, t.arms[i].paired, b, level);
      all[i].push_back(std::move(s));
    }
  }
  return all;
}

std::vector<std::vector<std::string>> rows_of(const StudyTable& t, const ArmSpeedups& all) {
  std::vector<std::vector<std::string>> rows = {
      {"speedup", "tokens", "FLOPs", "seconds", fmt::format("at {} on {}", t.unit, t.chosen_on)}};
  for (size_t i = 0; i < all.size(); ++i) {
    if (all[i].empty()) continue;
    std::vector<std::string> row = {t.arms[i].name};
    for (const Speedup& s : all[i]) row.push_back(cell(s));
    row.push_back(all[i].front().none.empty() ? fmt::format("{:.4f}", all[i].front().loss) : "-");
    rows.push_back(std::move(row));
  }
  return rows.size() > 1 ? rows : std::vector<std::vector<std::string>>();
}

json to_json(const std::vector<Speedup>& all) {
  json j = json::object();
  for (const Speedup& s : all) {
    const bool has = s.none.empty(), spread = has && s.high > 0;
    j[std::string(to_string(s.budget))] = {
        {"factor", has ? json(s.factor) : json()}, {"low", spread ? json(s.low) : json()},
        {"high", spread ? json(s.high) : json()},  {"undetermined", s.undetermined},
        {"loss", has ? json(s.loss) : json()},     {"reason", s.none}};
  }
  return j;
}

std::vector<std::string> footnotes(const StudyTable& t, const ArmSpeedups& all) {
  std::vector<std::string> lines = {fmt::format(
      "speedup: how many times more the baseline had spent where it came to the loss that all runs of both reach, {}; "
      "above 1 the arm needs less. Curves never rise and are not continued; an arm is read inside its own schedule, "
      "where shorter runs would be lower",
      t.seeds == 1 ? "of one seed, which has no interval" : "with its 95 % interval over seeds")};
  for (size_t i = 0; i < all.size(); ++i)
    for (const Speedup& s : all[i])
      if (s.undetermined) {
        lines.push_back(
            fmt::format("{}: the speedup by {} is undetermined: its interval, {:.2g} to {:.2g}, is wider than what "
                        "such evaluations could show; more seeds make it narrower",
                        t.arms[i].name, to_string(s.budget), s.low, s.high));
      } else if (!s.none.empty()) {
        const std::string line = fmt::format("{} has no speedup: {}", t.arms[i].name, s.none);
        if (lines.back() != line) lines.push_back(line);
      }
  return lines;
}

}  // namespace effllm
