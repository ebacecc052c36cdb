#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/terminal.h"
#include "base/text.h"
#include "commands.h"
#include "io/run_list.h"
#include "json_output.h"

namespace effllm::app {
namespace {

template <class T>
nlohmann::json to_json(const std::optional<T>& v) {
  return v ? nlohmann::json(*v) : nlohmann::json();
}

nlohmann::json to_json(const RunSummary& r) {
  nlohmann::json j = {{"name", r.name},
                      {"status", r.status},
                      {"best_loss", to_json(r.best_loss)},
                      {"train_loss", to_json(r.train_loss)},
                      {"parameters", to_json(r.parameters)},
                      {"step", to_json(r.step)},
                      {"tokens", to_json(r.tokens)},
                      {"wall_s", to_json(r.wall_s)},
                      {"save_s", to_json(r.save_s)},
                      {"other_s", to_json(r.other_s)},
                      {"progress", to_json(r.progress)}};
  if (!r.problem.empty()) j["problem"] = r.problem;
  return j;
}

template <class T, class Show>
std::string cell(const std::optional<T>& v, Show show) {
  return v ? show(static_cast<double>(*v)) : "-";
}

}  // namespace

ExitCode runs(const Common& common, const RunsArgs& args) {
  const RunList list = list_runs(args.runs);
  if (common.json) {
    nlohmann::json j = {{"runs", nlohmann::json::array()}, {"passed_over", nlohmann::json::array()}};
    for (const RunSummary& r : list.runs) j["runs"].push_back(to_json(r));
    for (const auto& [name, why] : list.passed_over) j["passed_over"].push_back({{"name", name}, {"why", why}});
    print_json(j);
    return ExitCode::ok;
  }
  const auto loss = [](double v) { return fmt::format("{:.4f}", v); };
  std::vector<std::vector<std::string>> rows = {
      {"run", "best loss", "train loss", "parameters", "tokens", "time", "status"}};
  for (const RunSummary& r : list.runs) {
    std::string status = r.status;
    if (r.progress && *r.progress < 1 && status != "damaged") status += fmt::format(" at {:.0f} %", 100 * *r.progress);
    rows.push_back({r.name, cell(r.best_loss, loss), cell(r.train_loss, loss), cell(r.parameters, human_count),
                    cell(r.tokens, human_count), cell(r.wall_s, human_seconds), status});
  }
  if (list.runs.empty())
    fmt::print("{}: no runs yet\n", args.runs);
  else
    fmt::print("{}", table(rows));
  for (const RunSummary& r : list.runs)
    if (!r.problem.empty()) print_stderr(fmt::format("{}: {}\n", r.name, r.problem));
  if (!common.quiet)
    for (const auto& [name, why] : list.passed_over) print_stderr(fmt::format("{}: {}\n", name, why));
  return ExitCode::ok;
}

}  // namespace effllm::app
