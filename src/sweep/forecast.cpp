#include "sweep/forecast.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <thread>

#include "base/text.h"
#include "store/file.h"
#include "sweep/child.h"
#include "train/kept_config.h"
#include "train/signals.h"

namespace effllm {
namespace {

namespace fs = std::filesystem;

constexpr auto kPause = std::chrono::milliseconds(10);
constexpr double kForward = 1.0 / 3;  // of a training step

struct Timed {
  double step = 0, start = 0;  // seconds of a step, and until the first
};

std::optional<Timed> read_timed(const fs::path& file) {
  const nlohmann::json j = nlohmann::json::parse(read_file(file, 1 << 20), nullptr, false);
  if (!j.is_object() || !j.contains("seconds") || !j.contains("age_s")) return std::nullopt;
  std::vector<double> s = j.at("seconds");
  double sum = 0;
  for (const double v : s) sum += v;
  if (s.size() < 4) return std::nullopt;
  std::sort(s.begin() + 1, s.end());  // the first takes memory
  return Timed{s[2], std::max(0.0, j.at("age_s").get<double>() - sum)};
}

// The first run of each arm in `arms`, `jobs` at a time.
std::vector<std::optional<Timed>> time_steps(const Plan& plan, const std::vector<size_t>& arms, const fs::path& scratch,
                                             int jobs, int threads) {
  write_file_atomic(scratch / "steps", "steps 4\n");
  std::vector<std::optional<Timed>> timed(plan.arms.size());
  struct Working {
    size_t arm;
    std::unique_ptr<Child> child;
  };
  std::vector<Working> working;
  const auto out = [&](size_t a) { return scratch / fmt::format("steps.{}.json", a); };
  for (size_t next = 0; next < arms.size() || !working.empty();) {
    while (next < arms.size() && working.size() < static_cast<size_t>(jobs) && !Signals::stop_requested()) {
      const size_t a = arms[next++];
      const auto run = std::ranges::find(plan.runs, a, &PlannedRun::arm);
      const fs::path config = scratch / fmt::format("steps.{}.yaml", a);
      write_file_atomic(config, to_yaml(resolved_config(run->config, run->corpus)));
      working.push_back({a, std::make_unique<Child>(
                                std::vector<std::string>{"bench", "train", config.string(), "--follow", "--threads",
                                                         fmt::format("{}", threads)},
                                ChildFiles{.in = scratch / "steps", .out = out(a), .err = scratch / "steps.log"})});
    }
    if (Signals::stop_requested()) return timed;
    std::erase_if(working, [&](Working& w) {
      const auto code = w.child->ended();
      if (code == 0) timed[w.arm] = read_timed(out(w.arm));
      return code.has_value();
    });
    std::this_thread::sleep_for(kPause);
  }
  return timed;
}

// Evaluations as they come while it trains and at its end, and the scores of the study.
double forward_tokens(const Plan& plan, const PlannedRun& r) {
  const auto every = static_cast<double>(r.config.train.eval_every);
  const double times = 1 + (every > 0 ? r.steps / every : 0);
  return times * static_cast<double>(r.eval_tokens) + static_cast<double>(r.scored_tokens) +
         static_cast<double>(plan.study.eval.max_tokens > 0 ? plan.study.eval.max_tokens : r.eval_tokens);
}

double seconds_of(const Plan& plan, const PlannedRun& r, const Timed& t) {
  const auto tokens = static_cast<double>(r.config.train.batch * r.config.train.context);
  const double training = r.config.train.max_time ? *r.config.train.max_time : r.steps * t.step;
  return training + kForward * t.step * forward_tokens(plan, r) / tokens + 3 * t.start;
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
  const auto timed = time_steps(plan, unknown, scratch, jobs, threads);
  Forecast f;
  for (const PlannedRun& r : plan.runs)
    f.seconds.push_back(count[r.arm] > 0 ? known[r.arm] / count[r.arm]
                        : timed[r.arm]   ? seconds_of(plan, r, *timed[r.arm])
                                         : 0);
  f.method = unknown.empty()                     ? "by the runs that are done"
             : unknown.size() < plan.arms.size() ? "by the runs that are done, and four steps of each other arm"
                                                 : "by four steps of each arm";
  return f;
}

double makespan(const std::vector<double>& seconds, int jobs) {
  std::vector<double> free(static_cast<size_t>(std::max(1, jobs)), 0.0);
  for (const double s : seconds) *std::ranges::min_element(free) += s;
  return *std::ranges::max_element(free);
}

}  // namespace effllm
