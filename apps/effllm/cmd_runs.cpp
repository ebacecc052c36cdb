#include <fmt/format.h>

#include <algorithm>

#include "base/json.h"
#include "base/terminal.h"
#include "base/text.h"
#include "commands.h"
#include "json_output.h"
#include "run_comparison.h"
#include "store/run_list.h"

namespace effllm::app {
namespace {

template <class T>
nlohmann::json to_json(const std::optional<T>& v) {
  return v ? nlohmann::json(*v) : nlohmann::json();
}

nlohmann::json or_null(const std::string& s) { return s.empty() ? nlohmann::json() : nlohmann::json(s); }

nlohmann::json to_json(const RunSummary& r) {
  nlohmann::json j = {{"name", r.name},
                      {"status", r.status},
                      {"best_loss", to_json(r.best_loss)},
                      {"train_loss", to_json(r.train_loss)},
                      {"bound", r.bound},
                      {"train_bound", r.train_bound},
                      {"unit", "nats/token"},
                      {"corpus", or_null(r.corpus)},
                      {"data_hash", or_null(r.data_hash)},
                      {"tokenizer", or_null(r.tokenizer)},
                      {"split", or_null(r.split)},
                      {"protocol", or_null(r.protocol)},
                      {"eval_tokens", to_json(r.eval_tokens)},
                      {"eval_stride", to_json(stride_of(r))},
                      {"eval_max_tokens", to_json(r.eval_max_tokens)},
                      {"reset", or_null(r.reset)},
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

std::string or_dash(const std::string& s) { return s.empty() ? "-" : s; }

// The corpus; where its name stands for several, with the beginning of what tells them apart.
std::string corpus_of(const RunSummary& r, const std::vector<RunSummary>& all) {
  const bool several =
      std::ranges::any_of(all, [&](const RunSummary& o) { return o.corpus == r.corpus && o.data_hash != r.data_hash; });
  return or_dash(r.corpus) + (several && !r.data_hash.empty() ? " " + r.data_hash.substr(0, 8) : "");
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
  const std::vector<std::string_view> differ = differing(list.runs);
  std::vector<std::vector<std::string>> rows = {{"run", "corpus", "tokens of", "best loss (nats/token)", "on",
                                                 "train loss (nats/token)", "parameters", "tokens", "time", "status"}};
  for (const RunSummary& r : list.runs) {
    const auto loss = [](bool bound) {
      return [bound](double v) { return fmt::format("{}{:.4f}", bound ? "<= " : "", v); };
    };
    std::string status = r.status;
    if (r.progress && *r.progress < 1 && status != "damaged") status += fmt::format(" at {:.0f} %", 100 * *r.progress);
    rows.push_back({r.name, corpus_of(r, list.runs), or_dash(r.tokenizer), cell(r.best_loss, loss(r.bound)),
                    evaluated_on(r, differ), cell(r.train_loss, loss(r.train_bound)), cell(r.parameters, human_count),
                    cell(r.tokens, human_count), cell(r.wall_s, human_seconds), status});
  }
  if (list.runs.empty())
    fmt::print("{}: no runs yet\n", args.runs);
  else
    fmt::print("{}", table(rows));
  if (!common.quiet && !differ.empty())
    print_stderr(
        fmt::format("losses compare only where corpus, tokens and evaluation are the same; these differ in {}\n",
                    fmt::join(differ, ", ")));
  for (const RunSummary& r : list.runs)
    if (!r.problem.empty()) print_stderr(fmt::format("{}: {}\n", r.name, r.problem));
  if (!common.quiet)
    for (const auto& [name, why] : list.passed_over) print_stderr(fmt::format("{}: {}\n", name, why));
  return ExitCode::ok;
}

}  // namespace effllm::app
