#include "sweep/arm_runs.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/text.h"
#include "sweep/kept_result.h"

namespace effllm {
namespace {

using nlohmann::json;

std::string shown(const json& point) {
  std::string text;
  for (const auto& [key, value] : point.items())
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", key, value.get<std::string>());
  return text;
}

// Over the first seeds.
double mean_chosen_on(const std::vector<KeptRun>& seeds, size_t count, std::string_view unit) {
  double sum = 0;
  for (size_t i = 0; i < count; ++i) sum += bits_of(seeds[i].result->at("chosen_on"), unit);
  return sum / static_cast<double>(count);
}

std::optional<double> number(const std::string& text) {
  double v = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), v);
  return error == std::errc() && end == text.data() + text.size() ? std::optional(v) : std::nullopt;
}

}  // namespace

bool KeptRun::diverged() const {
  return failure && failure->at("exit_code") == static_cast<int>(ExitCode::numerical) &&
         failure->at("stage") == "train";
}

std::vector<PointRuns> runs_of(const StudyFolder& folder, const json& plan, const std::string& arm) {
  std::vector<PointRuns> all;
  for (const json& r : plan.at("runs")) {
    if (r.at("arm") != arm) continue;
    auto point = std::ranges::find(all, r.at("point"), &PointRuns::point);
    if (point == all.end()) point = all.insert(all.end(), {r.at("point"), {}});
    KeptRun k{result_if_there(folder, r), failure_if_there(folder, r)};
    if (k.result) k.failure.reset();
    point->seeds.push_back(std::move(k));
  }
  return all;
}

double bits_of(const json& score, std::string_view unit) {
  const char* key = unit == "bits/char" ? "bits_per_char" : unit == "bits/token" ? "bits_per_token" : "bits_per_byte";
  return score.at(key).get<double>();
}

std::string unit_of(const std::vector<PointRuns>& runs) {
  std::string unit = "bits/char";
  for (const auto& [point, seeds] : runs)
    for (const KeptRun& k : seeds)
      for (const char* part : {"chosen_on", "reported"})
        if (k.result && !k.result->at(part).at("bits_per_char").is_number())
          unit = k.result->at(part).contains("bits_per_token") ? "bits/token" : "bits/byte";
  return unit;
}

std::string incomplete(const std::vector<PointRuns>& runs) {
  size_t all = 0, missing = 0;
  std::string failed;
  for (const auto& [point, seeds] : runs)
    for (const KeptRun& k : seeds) {
      ++all;
      if (!k.result && !k.failure) ++missing;
      if (k.failure && !k.diverged() && failed.empty())
        failed = fmt::format("{} failed", k.failure->at("run").get<std::string>());
    }
  if (missing > 0) return fmt::format("{} of {} are missing", missing, counted(static_cast<int64_t>(all), "run"));
  return failed;
}

size_t seeds_of_all(const std::vector<PointRuns>& runs) {
  size_t least = runs.empty() ? 0 : runs.front().seeds.size();
  for (const PointRuns& p : runs) least = std::min(least, p.seeds.size());
  return least;
}

Best best_of(const std::vector<PointRuns>& runs, std::string_view unit) {
  Best best;
  const size_t choose = seeds_of_all(runs);
  double least = 0;
  for (const PointRuns& p : runs) {
    const auto diverged = std::ranges::count_if(p.seeds, &KeptRun::diverged);
    if (diverged > 0)
      best.notes.push_back(fmt::format("{} of {} diverged{}{}", diverged,
                                       counted(static_cast<int64_t>(p.seeds.size()), "seed"),
                                       p.point.empty() ? "" : " at ", shown(p.point)));
    if (std::any_of(p.seeds.begin(), p.seeds.begin() + static_cast<std::ptrdiff_t>(choose),
                    [](const KeptRun& k) { return k.diverged(); }))
      continue;
    const double mean = mean_chosen_on(p.seeds, choose, unit);
    if (!best.runs || mean < least) best.runs = &p, least = mean;
  }
  if (!best.runs)
    best.reason = kAllDiverged;
  else if (std::ranges::any_of(best.runs->seeds, &KeptRun::diverged))
    best.runs = nullptr, best.reason = kChosenDiverged;
  else
    best.mean = mean_chosen_on(best.runs->seeds, best.runs->seeds.size(), unit);
  return best;
}

Edges edges_of(const json& tune, const json& point, const json& arm) {
  Edges edges;
  const json ranges = arm.value("ranges", json::object());
  for (const json& k : tune) {
    std::vector<double> tried;
    for (const json& v : k.at("values"))
      if (const auto n = number(v)) tried.push_back(*n);
    if (tried.size() < 2 || tried.size() != k.at("values").size()) continue;
    const std::string key = k.at("key");
    const std::string text = point.at(key);
    const double chosen = *number(text);
    const json range = ranges.value(key, json::array({nullptr, nullptr}));
    const bool least = chosen == *std::ranges::min_element(tried), most = chosen == *std::ranges::max_element(tried);
    const auto ends_at = [&](int end) { return range.at(static_cast<size_t>(end)) == json(chosen); };
    if ((least && ends_at(0)) || (most && ends_at(1)))
      edges.notes.push_back(
          fmt::format("the best {}, {}, is the {} that there is: no edge", key, text, least ? "least" : "largest"));
    else if ((least || most) && edges.reason.empty())
      edges.reason = fmt::format("the best {}, {}, is at the edge of what was tried", key, text);
  }
  return edges;
}

}  // namespace effllm
