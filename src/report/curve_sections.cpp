#include <fmt/format.h>

#include <algorithm>

#include "report/escape.h"
#include "report/line_chart.h"
#include "report/page.h"
#include "report/sections.h"
#include "report/svg.h"

namespace effllm {
namespace {

using nlohmann::json;

std::string_view axis_label(Budget b) {
  constexpr std::string_view kLabels[] = {"tokens trained on", "FLOPs of training", "seconds of training steps"};
  return kLabels[static_cast<size_t>(b)];
}

std::vector<BandCurve> bands_of(const ReportSources& s, Budget budget) {
  std::vector<BandCurve> all;
  for (size_t i = 0; i < s.curves.size(); ++i) {
    if (!s.curves[i].none.empty()) continue;
    MeanCurve m = mean_curve(s.curves[i].seeds, budget);
    all.push_back({.name = s.curves[i].arm,
                   .colour = i,
                   .x = std::move(m.spent),
                   .low = std::move(m.low),
                   .mean = std::move(m.mean),
                   .high = std::move(m.high)});
  }
  return all;
}

// What the pictures do not hold, told in words. Of the curves over tokens: their losses are the same in all.
std::vector<std::string> beyond(const ReportSources& s) {
  std::vector<std::string> lines;
  bool inside = false;
  for (const BandCurve& c : bands_of(s, Budget::tokens)) {
    inside = inside || std::ranges::any_of(c.low, [&](double bits) { return bits <= s.table.guess; });
    const auto most = std::ranges::max_element(c.high);
    if (most != c.high.end() && *most > s.table.guess)
      lines.push_back(fmt::format("{} goes up to {:.4g} {}, beyond the axis: an arrow stands where its mean leaves it",
                                  c.name, *most, s.table.unit));
  }
  return inside ? lines : std::vector<std::string>();
}

std::string legend(const ReportSources& s) {
  std::string out = "<ul class=\"legend\">";
  for (size_t i = 0; i < s.curves.size(); ++i)
    if (s.curves[i].none.empty())
      out += fmt::format("<li class=\"{}\">{}</li>", series_class(i), html(s.curves[i].arm));
  return out + "</ul>\n";
}

}  // namespace

std::string curve_section(const ReportSources& s) {
  const StudyTable& t = s.table;
  std::string out = fmt::format(
      "<section><h2>Curves</h2>\n<p>Loss on {} while the runs of the table trained: the mean over seeds, in a band "
      "from "
      "the least to the largest seed. Nothing is smoothed.</p>\n",
      html(t.chosen_on));
  for (const ArmCurves& c : s.curves)
    if (!c.none.empty()) out += fmt::format("<p><b>{}</b> has no curve: {}.</p>\n", html(c.arm), html(c.none));
  out += "<div class=\"figures three\">\n";
  for (const Budget b : kBudgets) {
    const std::string label = fmt::format("Loss over {}", axis_label(b));
    out += fmt::format("<figure><figcaption>Against {}</figcaption>\n{}{}</figure>\n", to_string(b), legend(s),
                       line_chart(bands_of(s, b), label, std::string(axis_label(b)),
                                  fmt::format("{} on {}", t.unit, t.chosen_on), t.guess));
  }
  out += "</div>\n";
  for (const std::string& line : beyond(s)) out += "<p>" + html(line) + ".</p>\n";
  // Shown by report.js.
  return out +
         "<div id=\"zoom\" hidden>\n<h3>The same, to zoom</h3>\n<p><label><span class=\"unit\"></span> against "
         "<select></select></label> "
         "<output></output></p>\n<div class=\"plot\"></div>\n<p class=\"hint\">Drag to zoom, double-click for all of "
         "it.</p></div>\n</section>\n";
}

std::string speedup_section(const ReportSources& s) {
  const auto rows = rows_of(s.table, s.speedups);
  if (rows.empty()) return "";
  std::string out = "<section><h2>Effective speedup</h2>\n" + html_table(rows) + "<ul class=\"notes\">\n";
  for (const std::string& line : footnotes(s.table, s.speedups)) out += "<li>" + html(line) + "</li>\n";
  return out + "</ul></section>\n";
}

json curve_data(const ReportSources& s) {
  json budgets = json::array();
  for (const Budget b : kBudgets) {
    json arms = json::array();
    for (const BandCurve& c : bands_of(s, b))
      arms.push_back(
          {{"name", c.name}, {"colour", c.colour % 8}, {"x", c.x}, {"low", c.low}, {"mean", c.mean}, {"high", c.high}});
    budgets.push_back({{"name", std::string(to_string(b))}, {"label", std::string(axis_label(b))}, {"arms", arms}});
  }
  return {{"unit", fmt::format("{} on {}", s.table.unit, s.table.chosen_on)},
          {"budgets", budgets},
          {"most", beyond(s).empty() ? json() : json(s.table.guess)}};
}

}  // namespace effllm
