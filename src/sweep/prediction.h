// What runs were foreseen to take before they began, held against what they took.
#pragma once
#include <string>

#include "sweep/forecast.h"

namespace effllm {

// Keeps predicted/RUN.json of each run that has not begun and has none, and predicted/baselines.json: once written they
// stay as they are. Seconds of 0 are not known, and not kept.
void keep_predictions(const StudyFolder& folder, const Plan& plan, const Forecast& forecast, int jobs, int threads);

// Of the runs that have both, and of the n-gram models and compressors.
struct TimeSpent {
  double predicted = 0, spent = 0;  // seconds of machine time: of each run alone, however many ran at once
  int64_t runs = 0, of = 0;         // with both, and all of the plan
};
TimeSpent time_spent(const StudyFolder& folder, const nlohmann::json& plan);

// "machine time: foreseen 12.3 min, spent 13.0 min, 5.7 % more (24 of 24 runs)"; empty where no run has both.
std::string time_text(const TimeSpent& time);
nlohmann::json to_json(const TimeSpent& time);

}  // namespace effllm
