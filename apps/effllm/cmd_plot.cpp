#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "base/json.h"
#include "base/plot.h"
#include "base/terminal.h"
#include "base/text.h"
#include "commands.h"
#include "json_output.h"
#include "plot_panels.h"
#include "store/journal.h"
#include "store/run_folder.h"

namespace effllm::app {
namespace {

// "val/bpc" of a journal over `x`; empty where the run has no such metric.
PlotSeries series_of(const JournalData& journal, const std::string& metric, const std::string& x) {
  const auto slash = metric.find('/');
  if (slash == metric.npos) throw ConfigError("a metric is written kind/name, such as train/loss; `{}` is not", metric);
  PlotSeries s;
  const JournalTable* t = journal.find(metric.substr(0, slash));
  const std::vector<double>* y = t ? t->find(metric.substr(slash + 1)) : nullptr;
  if (!y) return s;
  s.y = *y;
  if (x == "step")
    s.x.assign(t->step.begin(), t->step.end());
  else if (const std::vector<double>* column = t->find(x))
    s.x = *column;
  else
    throw ConfigError("{} has no {} to plot over", metric, x);
  return s;
}

std::vector<std::string> known_metrics(const JournalData& journal) {
  std::vector<std::string> all;
  for (const auto& t : journal.tables)
    for (const auto& c : t.columns) all.push_back(t.kind + "/" + c.first);
  return all;
}

// Bits of a character where all runs have them: a text that is not UTF-8 is told in bytes.
bool all_have_characters(const std::vector<JournalData>& journals) {
  return std::ranges::none_of(journals, [](const JournalData& j) {
    return std::ranges::any_of(j.tables, [](const JournalTable& t) { return t.find("bpb") && !t.find("bpc"); });
  });
}

bool colours(const std::string& choice) {
  return choice == "always" || (choice == "auto" && colours_wanted(STDOUT_FILENO));
}

}  // namespace

ExitCode plot(const Common& common, const PlotArgs& args) {
  std::vector<JournalData> journals;
  for (const std::string& run : args.runs) {
    const std::filesystem::path file = RunFolder(run).journal();
    std::error_code error;
    if (!std::filesystem::exists(run, error)) throw DataError("{}: there is no such run folder", run);
    if (!std::filesystem::exists(file, error)) throw DataError("{}: not a run folder (it has no metrics.jsonl)", run);
    journals.push_back(read_journal(file));
  }
  const bool characters = all_have_characters(journals), usual = args.metrics.empty();
  std::vector<std::string> metrics;  // each once
  for (const std::string& m : args.metrics)
    if (std::ranges::find(metrics, m) == metrics.end()) metrics.push_back(m);
  if (usual)
    for (const char* table : {"train/", "eval_train/", "val/", "test/"})
      metrics.push_back(std::string(table) + (characters ? "bpc" : "bpb"));
  std::vector<Curve> curves;
  for (size_t i = 0; i < journals.size(); ++i)
    for (const std::string& metric : metrics) {
      PlotSeries s = series_of(journals[i], metric, args.x);
      if (s.y.empty() && !usual)
        throw DataError("{} has no metric `{}`. It has: {}", args.runs[i], metric,
                        journals[i].tables.empty() ? "no rows yet" : join(known_metrics(journals[i]), ", "));
      if (s.y.empty()) continue;
      s.name = args.runs.size() > 1 ? fmt::format("{} {}", args.runs[i], metric) : metric;
      curves.push_back({args.runs[i], metric, std::move(s)});
    }
  if (curves.empty()) throw DataError("{}: no rows of {} yet", join(args.runs, ", "), join(metrics, " or "));
  if (common.json) {
    nlohmann::json j = nlohmann::json::array();
    for (const Curve& c : curves)
      j.push_back(
          {{"name", c.series.name}, {"run", c.run}, {"metric", c.metric}, {"x", c.series.x}, {"y", c.series.y}});
    print_json(j);
    return ExitCode::ok;
  }
  const std::vector<Panel> panels = panels_of(metrics, curves);
  for (const Panel& panel : panels) {
    const PlotOptions o{.width = args.width > 0 ? args.width : std::clamp(terminal_columns(), 40, 120),
                        .height = args.height,
                        .log_y = args.log_y,
                        .ascii = args.ascii,
                        .colour = colours(args.colour),
                        .title = !usual       ? panel.title
                                 : characters ? "bits per character"
                                              : "bits per byte",
                        .x_label = args.x,
                        .y_label = "",
                        .x_range = x_range(panels)};
    fmt::print("{}{}", &panel == panels.data() ? "" : "\n", line_plot(panel.series, o));
  }
  return ExitCode::ok;
}

}  // namespace effllm::app
