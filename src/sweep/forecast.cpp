#include "sweep/forecast.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "base/clock.h"
#include "base/text.h"
#include "store/file.h"
#include "sweep/baseline_time.h"
#include "sweep/step_time.h"
#include "train/kept_config.h"
#include "train/signals.h"

namespace effllm {
namespace {

namespace fs = std::filesystem;

constexpr double kForward = 1.0 / 3;     // of a training step
constexpr double kMostSaved = 64 << 20;  // bytes that a save is timed with

// Of the first run of each arm in `arms`.
std::vector<std::optional<StepTime>> time_arms(const Plan& plan, const std::vector<size_t>& arms,
                                               const fs::path& scratch, int jobs, int threads) {
  std::vector<ConfigNode> configs;
  for (const size_t a : arms) {
    const auto run = std::ranges::find(plan.runs, a, &PlannedRun::arm);
    configs.push_back(resolved_config(run->config, run->corpus));
  }
  const auto times = time_steps(configs, scratch, jobs, threads);
  std::vector<std::optional<StepTime>> all(plan.arms.size());
  for (size_t i = 0; i < arms.size(); ++i) all[arms[i]] = times[i];
  return all;
}

// Evaluations as they come while it trains and at its end, and the scores of the study.
double forward_tokens(const Plan& plan, const PlannedRun& r) {
  const auto every = static_cast<double>(r.config.train.eval_every);
  const double times = 1 + (every > 0 ? r.steps / every : 0);
  return times * static_cast<double>(r.eval_tokens) + static_cast<double>(r.scored_tokens) +
         static_cast<double>(plan.study.eval.max_tokens > 0 ? plan.study.eval.max_tokens : r.eval_tokens);
}

// Checkpoints that it writes: at its evaluations, where they are the best, when they are due, and at its end.
double saves(const PlannedRun& r) {
  const auto times = [&](int64_t every) { return every > 0 ? r.steps / static_cast<double>(every) : 0; };
  return 2 + 2 * times(r.config.train.eval_every) + times(r.config.train.save_every);
}

// Of a file of so many bytes, in seconds.
double save_seconds(const fs::path& scratch, int64_t parameters) {
  const std::string bytes(static_cast<size_t>(std::clamp<int64_t>(12 * parameters, 1, kMostSaved)), 'x');
  const double start = seconds_now();
  write_file_atomic(scratch / "checkpoint", bytes);
  return (seconds_now() - start) * std::max(1.0, 12.0 * static_cast<double>(parameters) / kMostSaved);
}

// `save`: seconds of a checkpoint.
double seconds_of(const Plan& plan, const PlannedRun& r, const StepTime& t, double save) {
  const auto tokens = static_cast<double>(r.config.train.batch * r.config.train.context);
  const double training = r.config.train.max_time ? *r.config.train.max_time : r.steps * t.mean;
  return training + kForward * t.mean * forward_tokens(plan, r) / tokens + 3 * t.start + saves(r) * save;
}

}  // namespace

Forecast forecast(const Plan& plan, const StudyFolder& folder, const std::vector<bool>& waits, const fs::path& scratch,
                  int jobs, int threads) {
  std::vector<double> known(plan.arms.size()), count(plan.arms.size());
  std::vector<bool> wanted(plan.arms.size());
  for (size_t i = 0; i < plan.runs.size(); ++i)
    if (waits[i]) wanted[plan.runs[i].arm] = true;
  for (const PlannedRun& r : plan.runs)
    if (const auto t = read_object_if_there(folder.timing(r.name)); t && t->at("threads") == threads)
      known[r.arm] += t->at("elapsed_s").get<double>(), ++count[r.arm];
  std::vector<size_t> unknown;
  for (size_t a = 0; a < plan.arms.size(); ++a)
    if (count[a] == 0 && wanted[a]) unknown.push_back(a);
  const auto timed = time_arms(plan, unknown, scratch, jobs, threads);
  std::vector<double> saving(plan.arms.size());
  for (const size_t a : unknown) saving[a] = save_seconds(scratch, plan.arms[a].size.parameters);
  Forecast f;
  for (const PlannedRun& r : plan.runs)
    f.seconds.push_back(count[r.arm] > 0 ? known[r.arm] / count[r.arm]
                        : timed[r.arm]   ? seconds_of(plan, r, *timed[r.arm], saving[r.arm])
                                         : 0);
  f.method = unknown.empty()                     ? "by the runs that are done"
             : unknown.size() < plan.arms.size() ? "by the runs that are done, and steps of each other arm"
                                                 : "by steps of each arm";
  std::error_code error;
  if (fs::exists(folder.baselines(), error) || Signals::stop_requested()) return f;
  const auto before = read_object_if_there(folder.prediction("baselines"));
  f.baselines = before ? before->value("seconds", 0.0) : baseline_seconds(plan, jobs * threads);
  return f;
}

double makespan(const std::vector<double>& seconds, int jobs) {
  std::vector<double> free(static_cast<size_t>(std::max(1, jobs)), 0.0);
  for (const double s : seconds) *std::ranges::min_element(free) += s;
  return *std::ranges::max_element(free);
}

}  // namespace effllm
