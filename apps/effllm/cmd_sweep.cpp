#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "base/json.h"
#include "base/limits.h"
#include "base/terminal.h"
#include "base/text.h"
#include "json_output.h"
#include "kernels/parallel.h"
#include "shared.h"
#include "study_commands.h"
#include "sweep/forecast.h"
#include "sweep/held_out.h"
#include "sweep/kept_result.h"
#include "sweep/prediction.h"
#include "sweep/settle.h"
#include "sweep/step_time.h"
#include "sweep/timed_sizes.h"
#include "sweep/workers.h"
#include "train/signals.h"

namespace effllm::app {
namespace {

namespace fs = std::filesystem;

struct Crew {
  int jobs, threads;  // of each
};

Crew crew_of(const Common& common, const SweepArgs& args) {
  const int cpus = available_cpus();
  Crew c{args.jobs, common.threads};
  if (c.jobs == 0) c.jobs = std::max(1, cpus / std::max(1, c.threads));
  if (c.threads == 0) c.threads = std::max(1, cpus / c.jobs);
  return c;
}

// As many at once as memory has room for, if the largest meet.
int fitting(const Plan& plan, int jobs) {
  std::vector<double> bytes;
  for (const PlannedRun& r : plan.runs) bytes.push_back(r.memory);
  std::ranges::sort(bytes, std::greater<>());
  double sum = 0;
  int n = 0;
  while (n < jobs && n < static_cast<int>(bytes.size()) &&
         (n == 0 || sum + bytes[static_cast<size_t>(n)] <= memory_limit()))
    sum += bytes[static_cast<size_t>(n++)];
  return std::max(n, 1);
}

std::vector<bool> waiting(const Plan& plan, const StudyFolder& folder, bool retry) {
  std::vector<bool> all;
  const std::vector<Need> needs = needs_of(folder, to_json(plan));
  for (size_t i = 0; i < needs.size(); ++i) {
    const std::string status = status_of(folder, plan.runs[i].name);
    all.push_back(counts(plan, needs, i) && status != "done" && (retry || status != "failed"));
  }
  return all;
}

std::vector<double> of_waiting(const Forecast& f, const std::vector<bool>& waits) {
  std::vector<double> seconds;
  for (size_t i = 0; i < waits.size(); ++i)
    if (waits[i]) seconds.push_back(f.seconds[i]);
  return seconds;
}

// "24 runs (3 arms, 4 points, 2 seeds), of which 20 are left: about 12 min ..."
std::string outlook(const Plan& plan, const std::vector<bool>& waits, const Forecast& f, const Crew& crew) {
  const auto left = std::ranges::count(waits, true);
  const auto n = [](size_t count) { return static_cast<int64_t>(count); };
  std::string text =
      fmt::format("{} ({}, {}, {})", counted(n(plan.count()), "run"), counted(n(plan.arms.size()), "arm"),
                  counted(n(plan.points.size()), "point"), counted(plan.study.seeds, "seed"));
  if (plan.held_out)
    text = fmt::format("{} ({}, {} held out)", counted(n(plan.runs.size()), "run"), counted(n(plan.arms.size()), "arm"),
                       counted(plan.study.seeds, "seed"));
  if (plan.study.tune_seeds < plan.study.seeds)
    text.insert(text.size() - 1, fmt::format(", of which {} {}", plan.study.tune_seeds,
                                             plan.study.tune_seeds == 1 ? "chooses" : "choose"));
  if (left < n(plan.count())) text += fmt::format(", of which {} are left", left);
  if (left == 0) return text;
  const std::vector<double> seconds = of_waiting(f, waits);
  text += fmt::format(", {} at a time with {} each", crew.jobs, counted(crew.threads, "thread"));
  if (std::ranges::find(seconds, 0.0) != seconds.end())
    return text + ": how long is not known, an arm's steps could not be timed";
  return text + fmt::format(": about {}, {}{}", human_seconds(makespan(seconds, crew.jobs) + f.baselines), f.method,
                            f.baselines > 0 ? fmt::format("; {} of it for n-gram models and compressors",
                                                          human_seconds(f.baselines))
                                            : "");
}

nlohmann::json outcome_json(const SweepOutcome& o, const StudyFolder& folder) {
  return {{"folder", folder.path().string()},
          {"runs", o.runs},
          {"done", o.done},
          {"failed", o.failed},
          {"in_use", o.in_use},
          {"stopped", o.stopped},
          {"interrupted", o.interrupted},
          {"failures", o.failures}};
}

ExitCode code_of(const SweepOutcome& o) {
  if (o.interrupted || o.stopped > 0) return ExitCode::interrupted;
  if (o.failed > 0) return o.failed_code < 128 ? static_cast<ExitCode>(o.failed_code) : ExitCode::internal;
  return o.in_use > 0 ? ExitCode::locked : ExitCode::ok;
}

void print_outcome(const SweepOutcome& o, const StudyFolder& folder) {
  std::string text =
      fmt::format("{}: {} of {} done", folder.path().string(), o.done, counted(static_cast<int64_t>(o.runs), "run"));
  if (o.failed > 0) text += fmt::format(", {} failed", o.failed);
  if (o.in_use > 0) text += fmt::format(", {} in use by another process", o.in_use);
  if (const size_t left = o.runs - o.done - o.failed - o.in_use; left > 0)
    text += fmt::format(", {} left; call it again to go on", left);
  fmt::print("{}\n", text);
  for (const std::string& f : o.failures) fmt::print("failed: {}\n", f);
}

}  // namespace

std::string plan_text(const Plan& plan) {
  std::vector<std::vector<std::string>> rows = {{"arm", "parameters", "FLOPs/token", "state", "matched"}};
  for (const PlannedArm& a : plan.arms)
    rows.push_back({a.name, human_count(static_cast<double>(a.size.parameters)), human_count(a.size.flops_per_token),
                    human_bytes(static_cast<double>(a.size.state_bytes)), a.matched.empty() ? "-" : a.matched});
  return table(rows);
}

ExitCode sweep(const Common& common, const SweepArgs& args) {
  Crew crew = crew_of(common, args);
  set_threads(crew.threads);
  const Signals* const signals =
      args.dry_run ? nullptr
                   : new Signals(common.quiet ? ""
                                              : "\nstopping: runs end with a checkpoint, and go on when the study is "
                                                "called again; Ctrl-C again ends at once\n");
  [[gnu::used]] static const auto* const kept = signals;  // to the end of the process
  Study study = read_study(args.study);
  study.set = args.set;
  const StudyFolder folder(args.folder.empty() ? fs::path("studies") / study.name : fs::path(args.folder));
  std::optional<TimedSizes> sizes;
  if (study.match && study.match->what == "time") sizes.emplace(folder, crew.threads, !args.dry_run);
  Plan plan = make_plan(std::move(study), sizes ? &*sizes : nullptr);
  sizes.reset();  // others may begin
  if (args.dry_run)
    folder.require_same(plan);
  else if (const int64_t dropped = folder.take(plan); dropped > 0 && !common.quiet)
    print_stderr(
        fmt::format("{} that had not begun: changed, or no part of the study any more\n", counted(dropped, "run")));
  require_kept(folder, to_json(plan).at("runs"));
  if (args.confirm) {
    plan = held_out(plan, folder);
    if (!args.dry_run) folder.take_held_out(plan);
    require_kept(folder, to_json(plan).at("runs"));
  }
  const std::vector<bool> waits = waiting(plan, folder, args.retry);
  if (args.launcher == "slurm")
    return sweep_by_slurm(common, args, plan, folder, static_cast<int>(std::ranges::count(waits, true)));
  if (!args.slurm.empty()) throw ConfigError("--slurm does nothing without --launcher slurm");
  crew.jobs = fitting(plan, crew.jobs);
  const ScratchFolder scratch;
  Forecast f;
  if (std::ranges::count(waits, true) > 0) f = forecast(plan, folder, waits, scratch.path(), crew.jobs, crew.threads);
  if (Signals::stop_requested()) throw Error(ExitCode::interrupted, "stopped while steps were timed: no run has begun");
  if (args.dry_run) {
    if (common.json) {
      nlohmann::json j = settled(folder, to_json(plan));
      j["jobs"] = crew.jobs, j["threads"] = crew.threads;
      j["predicted_s"] = f.seconds.empty() ? 0.0 : makespan(of_waiting(f, waits), crew.jobs) + f.baselines;
      print_json(j);
    } else {
      fmt::print("{}{}\n", plan_text(plan), outlook(plan, waits, f, crew));
    }
    return ExitCode::ok;
  }
  if (!common.quiet) print_stderr(plan_text(plan) + outlook(plan, waits, f, crew) + "\n");
  keep_predictions(folder, plan, f, crew.jobs, crew.threads);
  StatusLine line(common.quiet);
  SweepRequest request{.plan = plan,
                       .folder = folder,
                       .jobs = crew.jobs,
                       .threads = crew.threads,
                       .retry = args.retry,
                       .seconds = f.seconds};
  if (!common.quiet) {
    request.say = [&](const std::string& text) { line.print(text); };
    request.show = [&](const std::string& text) { line.update(text); };
  }
  const SweepOutcome o = effllm::sweep(request);
  line.clear();
  const TimeSpent time = time_spent(folder, settled(folder, to_json(plan)));
  if (common.json) {
    nlohmann::json j = outcome_json(o, folder);
    j["time"] = to_json(time);
    print_json(j);
  } else {
    print_outcome(o, folder);
    if (time.runs > 0) fmt::print("{}\n", time_text(time));
  }
  if (!common.quiet && o.done > 0)
    print_stderr(fmt::format("next:  {0} compare {1}   {0} sweep status {1}\n", shell_word(common.program),
                             shell_word(folder.path().string())));
  return code_of(o);
}

ExitCode sweep_status(const Common& common, const std::string& path) {
  const StudyFolder folder(path);
  nlohmann::json plan = read_plan(folder);
  if (const auto held_out = read_object_if_there(folder.confirm()))
    for (const nlohmann::json& r : held_out->at("runs")) plan["runs"].push_back(r);
  nlohmann::json all = nlohmann::json::array();
  std::vector<std::vector<std::string>> rows = {{"run", "status", plan.at("chosen_on"), plan.at("split"), "time"}};
  std::vector<std::string> failures;
  for (const nlohmann::json& run : plan.at("runs")) {
    nlohmann::json r = run;
    const std::string name = r.at("run"), status = status_of(folder, name);
    r["status"] = status;
    std::vector<std::string> row = {name, status, "-", "-", "-"};
    if (const auto result = result_if_there(folder, run)) {
      for (const auto& [part, column] : {std::pair{"chosen_on", 2}, {"reported", 3}}) {
        const nlohmann::json& score = result->at(part);
        r[part] = score;
        row[static_cast<size_t>(column)] = score_text(score);
      }
      if (const auto t = read_object_if_there(folder.timing(name)))
        r["elapsed_s"] = t->at("elapsed_s"), row[4] = human_seconds(t->at("elapsed_s"));
    } else if (const auto f = failure_if_there(folder, run)) {
      r["failure"] = *f;
      failures.push_back(failure_line(*f));
    }
    all.push_back(std::move(r));
    rows.push_back(std::move(row));
  }
  if (common.json) {
    print_json({{"study", plan.at("name")}, {"runs", all}});
    return ExitCode::ok;
  }
  fmt::print("{}", table(rows));
  for (const std::string& f : failures) fmt::print("failed: {}\n", f);
  return ExitCode::ok;
}

}  // namespace effllm::app
