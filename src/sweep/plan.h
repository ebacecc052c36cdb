// A study worked out: every run with its configuration, all of them checked before the first starts.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "base/json.h"
#include "sweep/match.h"
#include "sweep/study.h"

namespace effllm {

class TimedSizes;

// One combination of the values that are tuned.
struct Point {
  std::string name;  // "lr-0.003"; empty where nothing is tuned
  std::vector<WrittenOverride> overrides;
};

struct PlannedArm {
  std::string name;
  std::vector<std::pair<std::string, std::string>> overrides;  // keys and values, with what was matched
  ModelSize size;
  std::string matched;  // "model.d_model 136: 0.4 % above 800000 params"; empty where nothing was solved for
  std::vector<std::pair<std::string, Range>> ranges = {};  // that tuned numbers are held to, by key
};

struct PlannedRun {
  std::string name;  // ARM.POINT.sSEED
  size_t arm = 0, point = 0;
  int64_t seed = 1;  // 1 to `seeds`
  RunConfig config;
  std::filesystem::path corpus;                // its manifest
  double steps = 0;                            // until the horizon; 0 where it is in seconds
  int64_t eval_tokens = 0, scored_tokens = 0;  // of the splits that checkpoints are chosen on, and that is reported
  double memory = 0;                           // bytes that training needs
};

struct Plan {
  Study study;
  std::string chosen_on;  // eval.split of the configurations: what checkpoints and values are chosen on
  std::vector<PlannedArm> arms;
  std::vector<Point> points;
  std::vector<PlannedRun> runs;  // by seed, then arm, then point: the first seed of everything comes first
  // How many are trained in the end: of the seeds after `tune_seeds` only what was chosen.
  size_t count() const;
  bool held_out = false;  // of one point of each arm, by seeds that nothing is chosen by (sweep/held_out.h)
};

// ConfigError and its like, with places, for all that would make a run fail at its start or its end. Memory is that of
// runs with threads() threads. Where sizes go by measured time, they are those of `sizes`, or measured now; without it
// they are left as they are.
Plan make_plan(Study study, TimedSizes* sizes = nullptr);

// What is kept of it, and read by those who look at results: names, sizes, values.
nlohmann::json to_json(const Plan& plan);
// A run as its result says which it is.
nlohmann::json identity_of(const Plan& plan, const PlannedRun& run);
// The same run with another seed than its 1.
PlannedRun with_seed(const Plan& plan, const PlannedRun& first, int64_t seed);

}  // namespace effllm
