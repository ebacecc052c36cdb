#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <span>

#include "base/hash.h"
#include "base/text.h"
#include "base/version.h"
#include "report/escape.h"
#include "report/page.h"
#include "report/sections.h"
#include "report/svg.h"
#include "store/file.h"
#include "store/run_folder.h"
#include "sweep/arm_runs.h"
#include "sweep/kept_result.h"
#include "sweep/prediction.h"
#include "sweep/workers.h"

namespace effllm {
namespace {

using nlohmann::json;
using Rows = std::vector<std::vector<std::string>>;

constexpr int64_t kMostStudy = 1 << 20;

std::string shown(const json& point) {
  std::vector<std::string> parts;
  for (const auto& [key, value] : point.items()) parts.push_back(key + " " + value.get<std::string>());
  return parts.empty() ? "as the arm says" : join(parts, ", ");
}

std::string list(const std::vector<std::string>& lines) {
  std::string out = "<ul>\n";
  for (const std::string& line : lines) out += "<li>" + html(line) + "</li>\n";
  return out + "</ul>\n";
}

// Values that the runs' files have of something, in the order of the runs, each once.
class Seen {
 public:
  void see(const std::string& value) {
    if (!value.empty() && known_.insert(value).second) values_.push_back(value);
  }
  void see(const json& object, const char* key) {
    const auto it = object.find(key);
    if (it != object.end()) see(it->is_string() ? it->get<std::string>() : it->dump());
  }
  std::string text() const { return values_.empty() ? "not recorded" : join(values_, "; "); }

 private:
  std::set<std::string> known_;
  std::vector<std::string> values_;
};

std::string time_or(const TimeSpent& time) {
  const std::string text = time_text(time);
  return text.empty() ? "not recorded" : text;
}

Rows facts_of_runs(const ReportSources& s) {
  Seen version, compiler, cpu, host, threads, isa, gemm, corpus, data;
  double seconds = 0;
  std::string last;
  for (const json& r : s.plan.at("runs")) {
    const std::string name = r.at("run");
    if (const auto p = read_object_if_there(RunFolder(s.folder.run(name)).provenance())) {
      version.see(
          fmt::format("{} ({}, {})", p->value("effllm_version", ""), p->value("git", ""), p->value("build_type", "")));
      compiler.see(*p, "compiler"), isa.see(*p, "isa"), gemm.see(*p, "gemm");
      data.see(*p, "data_sha256");
    }
    if (const auto t = read_object_if_there(s.folder.timing(name))) {
      cpu.see(*t, "cpu_model"), host.see(*t, "host"), threads.see(*t, "threads");
      seconds += t->at("elapsed_s").get<double>();
      last = std::max(last, t->at("ended_utc").get<std::string>());
    }
    if (const auto result = result_if_there(s.folder, r))
      corpus.see(result->at("reported").at("corpus").get<std::string>() + " " +
                 result->at("reported").at("data").at("hash").get<std::string>());
  }
  return {{"effllm of the runs", version.text()},
          {"effllm of this page", build_info().version + " (" + build_info().git + ")"},
          {"compiler", compiler.text()},
          {"processor", cpu.text()},
          {"host", host.text()},
          {"threads of a run", threads.text()},
          {"instruction set", isa.text()},
          {"products by", gemm.text()},
          {"time of all runs, one after the other", human_seconds(seconds)},
          {"foreseen before it began", time_or(time_spent(s.folder, s.plan))},
          {"last run ended", last.empty() ? "none has" : last},
          {"corpus and its hash", corpus.text()},
          {"SHA-256 of the text", data.text()}};
}

}  // namespace

std::string choice_section(const ReportSources& s) {
  const StudyTable& t = s.table;
  if (s.plan.at("tune").empty()) return "";
  Rows rows = {{"tried"}};
  for (const ArmRow& a : t.arms) {
    rows[0].push_back(a.name);
    const std::vector<PointRuns> points = runs_of(s.folder, s.plan, a.name);
    json chosen = json::object();
    for (const auto& [key, value] : a.chosen) chosen[key] = value;
    const size_t choose = seeds_of_all(points);
    for (size_t p = 0; p < points.size(); ++p) {
      if (rows.size() <= p + 1) rows.push_back({shown(points[p].point)});
      const std::span seeds = std::span(points[p].seeds).first(choose);
      std::string cell = "missing";
      if (std::ranges::all_of(seeds, [](const KeptRun& k) { return k.result.has_value(); })) {
        double sum = 0;
        for (const KeptRun& k : seeds) sum += bits_of(k.result->at("chosen_on"), t.unit);
        cell = fmt::format("{}{:.4f}", !a.scores.empty() && points[p].point == chosen ? "chosen: " : "",
                           sum / static_cast<double>(seeds.size()));
      } else if (std::ranges::any_of(seeds, &KeptRun::diverged)) {
        cell = "diverged";
      } else if (std::ranges::any_of(seeds, [](const KeptRun& k) { return k.failure.has_value(); })) {
        cell = "failed";
      }
      rows[p + 1].push_back(cell);
    }
  }
  return fmt::format("<section><h2>What was chosen among</h2>\n<p>{} on {}, by {}.</p>\n{}</section>\n", html(t.unit),
                     html(t.chosen_on), choosers(t), html_table(rows, {}, true));
}

std::string missing_section(const ReportSources& s) {
  const StudyTable& t = s.table;
  std::vector<std::string> lines;
  int64_t done = 0;
  for (const json& r : s.plan.at("runs")) {
    const std::string name = r.at("run"), status = status_of(s.folder, name);
    if (status == "done")
      ++done;
    else if (const auto f = failure_if_there(s.folder, r))
      lines.push_back(failure_line(*f));
    else
      lines.push_back(name + ": " + status);
  }
  for (const ArmRow& a : t.arms)
    if (!a.comparison.reason.empty())
      lines.push_back(fmt::format("{} has no verdict: {}", a.name, a.comparison.reason));
  lines.insert(lines.end(), t.texts_left_out.begin(), t.texts_left_out.end());
  std::string out = fmt::format("<section><h2>What is missing</h2>\n<p>{} of {} are done.</p>\n", done,
                                counted(static_cast<int64_t>(s.plan.at("runs").size()), "run"));
  return out + (lines.empty() ? "<p>Nothing failed, and every arm has a verdict.</p>\n" : list(lines)) + "</section>\n";
}

std::string facts_section(const ReportSources& s) {
  Rows arms = {{"arm", "keys", "matched"}};
  for (const json& a : s.plan.at("arms")) {
    std::vector<std::string> keys;
    for (const json& o : a.at("overrides"))
      keys.push_back(o.at("key").get<std::string>() + ": " + o.at("value").get<std::string>());
    const std::string matched = a.at("matched");
    arms.push_back({a.at("name"), keys.empty() ? "as the base" : join(keys, "\n"), matched.empty() ? "-" : matched});
  }
  Rows facts = {{"fact", "value"}};
  for (auto& row : facts_of_runs(s)) facts.push_back(std::move(row));
  std::string study;
  std::error_code error;
  if (const auto file = s.folder.path() / "study.yaml"; std::filesystem::exists(file, error)) {
    study = read_file(file, kMostStudy);
    facts.push_back({"SHA-256 of study.yaml", sha256(study)});
  }
  if (const std::string hash = claims_hash(s.plan); !hash.empty()) facts.push_back({"SHA-256 of the claims", hash});
  facts.push_back({"scored by", s.plan.at("eval").get<std::string>()});
  return "<section class=\"facts\"><h2>Settings, versions, machine</h2>\n" + html_table(arms) + html_table(facts) +
         (study.empty() ? "" : "<h3>study.yaml</h3>\n<pre>" + html(study) + "</pre>\n") +
         "<p>configs/RUN.yaml in the study's folder has every key of each run.</p></section>\n";
}

}  // namespace effllm
