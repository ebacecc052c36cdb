#include <fmt/format.h>

#include <set>

#include "base/text.h"
#include "report/escape.h"
#include "report/line_chart.h"
#include "report/sections.h"
#include "report/svg.h"

namespace effllm {
namespace {

// An arm where it stands: its mean, in its 95 % interval where it has one.
BandCurve place(const ArmRow& a, size_t colour, const Estimate& y) {
  const double half = y.has_spread() ? y.half_width(0.95) : 0;
  return {.name = a.name,
          .colour = colour,
          .x = {static_cast<double>(a.state_bytes)},
          .low = {y.value - half},
          .mean = {y.value},
          .high = {y.value + half}};
}

std::string figure(const std::string& what, const std::string& y_label, const std::vector<BandCurve>& arms,
                   double most) {
  std::string legend = "<ul class=\"legend\">";
  for (const BandCurve& c : arms)
    legend += fmt::format("<li class=\"{}\">{}</li>", series_class(c.colour), html(c.name));
  return fmt::format("<figure><figcaption>{}</figcaption>\n{}</ul>\n{}</figure>\n", html(what), legend,
                     line_chart(arms, what, "bytes of state after a row of training", y_label, most));
}

}  // namespace

std::string state_section(const ReportSources& s) {
  const StudyTable& t = s.table;
  std::vector<BandCurve> scores, accuracies;
  std::set<int64_t> sizes;
  for (size_t i = 0; i < t.arms.size(); ++i) {
    const ArmRow& a = t.arms[i];
    if (a.scores.empty()) continue;
    sizes.insert(a.state_bytes);
    scores.push_back(place(a, i, a.reported));
    if (a.accuracy) accuracies.push_back(place(a, i, *a.accuracy));
  }
  if (sizes.size() < 2) return "";
  std::string out =
      "<section><h2>Against the state</h2>\n<p>What an arm remembers of one sequence, and how well it does: the mean "
      "over "
      "seeds with its 95 % interval.</p>\n<div class=\"figures two\">\n";
  out += figure("Score against bytes of state", fmt::format("{} on {}", t.unit, t.split), scores, t.guess);
  if (!accuracies.empty())
    out += figure("Accuracy against bytes of state", fmt::format("accuracy on {}", t.split), accuracies, 1);
  return out + "</div></section>\n";
}

}  // namespace effllm
