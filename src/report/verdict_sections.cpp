#include <fmt/format.h>

#include "base/text.h"
#include "report/escape.h"
#include "report/interval_chart.h"
#include "report/page.h"
#include "report/sections.h"
#include "report/svg.h"

namespace effllm {
namespace {

std::string baseline_name(const StudyTable& t) {
  for (const ArmRow& a : t.arms)
    if (a.baseline) return a.name;
  return "";
}

// "min_gru: better", and in words how much.
std::string sentence(const ArmRow& a, const StudyTable& t) {
  const Comparison& c = a.comparison;
  std::string text;
  if (c.verdict == Verdict::none)
    text = "no verdict: " + c.reason;
  else
    text = fmt::format("{:+.4f} {} against {}, between {:+.4f} and {:+.4f}", c.difference.value, t.unit,
                       baseline_name(t), c.lo, c.hi);
  if (c.verdict == Verdict::undecided)
    text += fmt::format("; a difference of {:.4f} would be seen in 80 % of such studies", a.detectable);
  const std::string_view verdict = to_string(c.verdict);
  return fmt::format("<li class=\"{}\"><b>{}</b> <span class=\"verdict\">{}</span> {}.</li>\n",
                     c.verdict == Verdict::none ? "none" : verdict, html(a.name), verdict,
                     html(c.verdict == Verdict::none ? c.reason : text));
}

std::string figure(const std::string& caption, const std::string& picture) {
  return fmt::format("<figure><figcaption>{}</figcaption>\n{}</figure>\n", html(caption), picture);
}

}  // namespace

std::string verdict_section(const ReportSources& s) {
  const StudyTable& t = s.table;
  std::string out = "<section><h2>Verdicts</h2>\n<ul class=\"verdicts\">\n";
  std::vector<std::string> classes;
  for (size_t i = 0; i < t.arms.size(); ++i) {
    if (!t.arms[i].baseline) out += sentence(t.arms[i], t);
    classes.push_back("arm " + series_class(i));
  }
  classes.insert(classes.end(), t.texts.size(), "text");
  if (t.arms.size() < 2) out += "<li>One arm has nothing to be held against.</li>\n";
  out += "</ul>\n" + html_table(rows_of(t), classes);
  out += "<ul class=\"notes\">\n";
  for (const std::string& note : footnotes(t)) out += "<li>" + html(note) + "</li>\n";
  return out + "</ul></section>\n";
}

std::string claim_section(const ReportSources& s) {
  if (s.claims.empty()) return "";
  std::string out = "<section><h2>Claims</h2>\n<ul class=\"verdicts\">\n";
  for (const JudgedClaim& j : s.claims) {
    const ClaimVerdict v = j.held_out ? j.confirmed.verdict : j.found.verdict;
    const std::string_view kind = v == ClaimVerdict::reproduced       ? "better"
                                  : v == ClaimVerdict::not_reproduced ? "worse"
                                  : v == ClaimVerdict::undecided      ? "undecided"
                                                                      : "none";
    const std::string late = late_text(j.held_out ? j.held_out_date : j.date);
    out +=
        fmt::format("<li class=\"{}\"><b>{}</b> <span class=\"verdict\">{}</span>{}{}<br>{} <cite>{}</cite></li>\n",
                    kind, html(j.claim.name), to_string(v), j.held_out ? " on held-out seeds" : "",
                    late.empty() ? "" : ", <em>" + html(late) + "</em>", html(j.claim.statement), html(j.claim.source));
  }
  out += "</ul>\n" + html_table(rows_of(s.claims)) + "<ul class=\"notes\">\n";
  for (const std::string& note : footnotes(s.claims)) out += "<li>" + html(note) + "</li>\n";
  return out + "</ul></section>\n";
}

std::string interval_section(const ReportSources& s) {
  const StudyTable& t = s.table;
  std::vector<IntervalRow> means, differences;
  const auto diverged = [&](const ArmRow& a) {
    return std::ranges::any_of(a.scores, [&](double bits) { return bits > t.guess; });
  };
  const bool base_diverged = std::ranges::any_of(t.arms, [&](const ArmRow& a) { return a.baseline && diverged(a); });
  for (size_t i = 0; i < t.arms.size(); ++i) {
    const ArmRow& a = t.arms[i];
    IntervalRow mean{
        .name = a.name, .text = "no result", .colour = i, .value = {}, .low = {}, .high = {}, .points = {}};
    IntervalRow difference = mean;
    difference.text = "no verdict";
    mean.apart = diverged(a), difference.apart = mean.apart && !base_diverged;
    if (!a.scores.empty()) {
      mean.value = a.reported.value, mean.points = a.scores;
      mean.text = fmt::format("{}{:.4f}", a.bound ? "≤ " : "", a.reported.value);
      if (a.reported.has_spread()) {
        const double half = a.reported.half_width(0.95);
        mean.low = a.reported.value - half, mean.high = a.reported.value + half;
        mean.text += fmt::format(" ± {:.4f}", half);
      }
    }
    if (a.comparison.level > 0) {
      difference.value = a.comparison.difference.value, difference.low = a.comparison.lo;
      difference.high = a.comparison.hi;
      difference.text = fmt::format("{:+.4f}, {}", a.comparison.difference.value, to_string(a.comparison.verdict));
    }
    means.push_back(std::move(mean));
    if (!a.baseline) differences.push_back(std::move(difference));
  }
  for (const TextRow& x : t.texts)
    means.push_back({.name = x.name + (x.before == "nothing" ? "" : ", after " + x.before),
                     .text = fmt::format("{:.4f}", x.value),
                     .plain = true,
                     .value = x.value,
                     .low = {},
                     .high = {},
                     .points = {}});
  const std::string beyond =
      std::ranges::any_of(means, &IntervalRow::apart) ? "; an arrow points to what lies beyond the axis" : "";
  std::string out = "<section><h2>Means and differences</h2>\n<div class=\"figures two\">\n";
  out += figure(
      (t.seeds == 1
           ? "The score of one seed, which has no interval"
           : fmt::format("Mean of {} with its 95 % interval; a stroke for each seed", counted(t.seeds, "seed"))) +
          beyond,
      interval_chart(means, "Means of the arms, as in the table", fmt::format("{} on {}", t.unit, t.split), false));
  if (!differences.empty())
    out += figure(fmt::format("Difference to {}, with the interval of its test{}", baseline_name(t), beyond),
                  interval_chart(differences, "Differences to the baseline, as in the table",
                                 fmt::format("better ← {} → worse", t.unit), true));
  return out + "</div></section>\n";
}

}  // namespace effllm
