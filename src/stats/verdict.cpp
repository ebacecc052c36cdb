#include "stats/verdict.h"

#include "base/error.h"
#include "stats/holm.h"

namespace effllm {
namespace {

Comparison compared(const Series& arm, std::span<const double> baseline) {
  Comparison c;
  c.difference = arm.paired ? paired_difference(arm.scores, baseline) : welch_difference(arm.scores, baseline);
  if (arm.scores.size() < 2 || baseline.size() < 2)
    c.reason = "one seed tells nothing of the spread";
  else if (!c.difference.has_spread())
    c.reason = c.difference.value == 0 ? "the same results as the baseline: nothing differs"
                                       : "no variance: the same difference at each seed";
  return c;
}

}  // namespace

std::string_view to_string(Verdict v) {
  constexpr std::string_view kNames[] = {"no verdict", "better", "worse", "undecided"};
  return kNames[static_cast<size_t>(v)];
}

std::vector<Comparison> compare_all(std::span<const Series> arms, std::span<const double> baseline, double alpha) {
  std::vector<Comparison> all;
  std::vector<size_t> tested;
  std::vector<double> p;
  for (const Series& arm : arms) {
    all.push_back(compared(arm, baseline));
    if (!all.back().reason.empty()) continue;
    tested.push_back(all.size() - 1);
    p.push_back(all.back().difference.p());
  }
  const std::vector<HolmStep> steps = holm(p, alpha);
  for (size_t i = 0; i < tested.size(); ++i) {
    Comparison& c = all[tested[i]];
    const double half = c.difference.half_width(1 - steps[i].level);
    c.level = steps[i].level;
    c.lo = c.difference.value - half, c.hi = c.difference.value + half;
    c.p = steps[i].adjusted;
    c.verdict = !steps[i].rejected ? Verdict::undecided : c.difference.value < 0 ? Verdict::better : Verdict::worse;
  }
  return all;
}

}  // namespace effllm
