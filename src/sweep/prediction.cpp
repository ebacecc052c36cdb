#include "sweep/prediction.h"

#include <fmt/format.h>

#include <cmath>

#include "base/clock.h"
#include "base/text.h"
#include "base/version.h"
#include "store/file.h"
#include "sweep/workers.h"

namespace effllm {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr const char* kBaselines = "baselines";  // a run's name ends with its seed

bool there(const fs::path& file) {
  std::error_code error;
  return fs::exists(file, error);
}

}  // namespace

void keep_predictions(const StudyFolder& folder, const Plan& plan, const Forecast& forecast, int jobs, int threads) {
  const auto keep = [&](const std::string& name, double seconds) {
    if (seconds > 0 && !there(folder.prediction(name)))
      write_object(folder.prediction(name), {{"run", name},
                                             {"seconds", seconds},
                                             {"jobs", jobs},
                                             {"threads", threads},
                                             {"method", forecast.method},
                                             {"host", host_name()},
                                             {"stated_utc", utc_now()}});
  };
  for (size_t i = 0; i < plan.runs.size() && i < forecast.seconds.size(); ++i)
    if (status_of(folder, plan.runs[i].name) == "waiting") keep(plan.runs[i].name, forecast.seconds[i]);
  if (!there(folder.baselines())) keep(kBaselines, forecast.baselines);
}

TimeSpent time_spent(const StudyFolder& folder, const json& plan) {
  TimeSpent time;
  const auto add = [&](const std::string& name) {
    const auto predicted = read_object_if_there(folder.prediction(name));
    const auto spent = read_object_if_there(folder.timing(name));
    if (!predicted || !spent) return false;
    time.predicted += predicted->at("seconds").get<double>();
    time.spent += spent->value("spent_s", spent->at("elapsed_s").get<double>());
    return true;
  };
  try {
    for (const json& r : plan.at("runs")) ++time.of, time.runs += add(r.at("run")) ? 1 : 0;
    if (time.runs > 0) add(kBaselines);
  } catch (const json::exception& e) {
    throw DataError("{}: a file in predicted/ or timings/ is damaged or of another version: {}", folder.path().string(),
                    e.what());
  }
  return time;
}

std::string time_text(const TimeSpent& t) {
  if (t.runs == 0) return "";
  const double off = t.spent / t.predicted - 1;
  return fmt::format("machine time: foreseen {}, spent {}, {} {} ({} of {})", human_seconds(t.predicted),
                     human_seconds(t.spent), human_percent(std::abs(off)), off < 0 ? "less" : "more", t.runs,
                     counted(t.of, "run"));
}

json to_json(const TimeSpent& t) {
  return {{"predicted_s", t.predicted}, {"spent_s", t.spent}, {"runs", t.runs}, {"of_runs", t.of}};
}

}  // namespace effllm
