// The runs of an arm by their result files, and the values that are chosen among them.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sweep/study_folder.h"

namespace effllm {

// A run by its files.
struct KeptRun {
  std::optional<nlohmann::json> result, failure;
  // Its training ended with numbers that are not finite: the values that it had are no choice, and that is a finding.
  bool diverged() const;
};

// All seeds of one combination of the tuned values, `point`: an object of keys and values.
struct PointRuns {
  nlohmann::json point;
  std::vector<KeptRun> seeds;
};

std::vector<PointRuns> runs_of(const StudyFolder& folder, const nlohmann::json& plan, const std::string& arm);

// bits/char or bits/byte of a score.
double bits_of(const nlohmann::json& score, std::string_view unit);
// The unit that all results have: bits/char, where one has no characters bits/byte, of symbols that are no text
// bits/token.
std::string unit_of(const std::vector<PointRuns>& runs);

// What is missing or failed otherwise than by diverging, as a reason; empty where all is there that can be.
std::string incomplete(const std::vector<PointRuns>& runs);

// How many seeds every point has: those that choose.
size_t seeds_of_all(const std::vector<PointRuns>& runs);

struct Best {
  const PointRuns* runs = nullptr;  // null where there is a `reason`
  double mean = 0;                  // of the split that is chosen on, over the seeds
  std::string reason;               // why nothing is chosen: every point, or the one that was, has a diverged seed
  std::vector<std::string> notes;   // of what diverged
};
// That of the least mean over the seeds that every point has; of several the first. `runs` are complete.
Best best_of(const std::vector<PointRuns>& runs, std::string_view unit);

// Why an arm has no verdict where all values that were tried have diverged.
inline constexpr std::string_view kAllDiverged = "every run diverged";
// The same where seeds diverged that train only what others have chosen.
inline constexpr std::string_view kChosenDiverged = "what was chosen diverged with another seed";

struct Edges {
  std::string reason;              // why nothing can be said: of the first key below; empty where there is none
  std::vector<std::string> notes;  // edges that are none, since nothing lies beyond them
};
// Of the tuned keys whose chosen number is the least or the largest that was tried. Values that are no numbers have no
// edge, nor has what is the end of the option's own range (`arm`: the plan's, with `ranges`).
Edges edges_of(const nlohmann::json& tune, const nlohmann::json& point, const nlohmann::json& arm);

}  // namespace effllm
