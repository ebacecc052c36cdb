#include "report/study_report.h"

#include <fmt/format.h>

#include "base/text.h"
#include "report/escape.h"
#include "report/page.h"
#include "report/sections.h"
#include "sweep/settle.h"

namespace effllm {
namespace {

using nlohmann::json;

// "2 arms, 3 seeds each; optim.lr chosen for each arm among 4 values by val; test of kjv, windows of 128 tokens"
std::string summary(const StudyTable& t, const json& plan) {
  std::string text =
      fmt::format("{}, {} each", counted(static_cast<int64_t>(t.arms.size()), "arm"), counted(t.seeds, "seed"));
  for (const json& k : plan.at("tune"))
    text += fmt::format("; {} chosen for each arm among {} by {} on {}", k.at("key").get<std::string>(),
                        counted(static_cast<int64_t>(k.at("values").size()), "value"), choosers(t), t.chosen_on);
  if (!t.corpus.empty()) text += fmt::format("; scored on {} of {}, {}", t.split, t.corpus, t.protocol);
  return text;
}

}  // namespace

std::string study_report(const StudyFolder& folder, const StudyTable& t) {
  try {
    ReportSources s{.folder = folder,
                    .table = t,
                    .plan = read_plan(folder),
                    .curves = {},
                    .speedups = {},
                    .claims = judge_claims(folder)};
    s.curves = curves_of(folder, s.plan, t);
    s.speedups = speedups_of(t, s.curves);
    std::string body =
        fmt::format("<header><h1>{}</h1>\n<p>{}.</p></header>\n", html(t.study), html(summary(t, s.plan)));
    body += verdict_section(s) + claim_section(s) + interval_section(s) + state_section(s) + curve_section(s) +
            speedup_section(s) + choice_section(s) + missing_section(s) + facts_section(s);
    return html_page({.title = t.study + ": a study by effllm", .body = body, .data = curve_data(s)});
  } catch (const json::exception& e) {
    throw DataError("{}: a file of the study is damaged or of another version: {}", folder.path().string(), e.what());
  }
}

}  // namespace effllm
