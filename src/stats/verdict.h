// Several arms held against one: differences, Holm's correction, and a verdict for each. Lower scores are better.
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "stats/estimate.h"

namespace effllm {

enum class Verdict { none, better, worse, undecided };
std::string_view to_string(Verdict);

// An arm's scores, one a seed.
struct Series {
  std::vector<double> scores;
  bool paired = false;  // scores[i] is to be held against the baseline's of the same i
};

struct Comparison {
  Verdict verdict = Verdict::none;
  std::string reason;     // of no verdict
  Estimate difference;    // to the baseline: negative is better
  double level = 0;       // of the test, after Holm; 0 where there was none
  double lo = 0, hi = 0;  // the interval of level 1 - `level`: without 0 exactly where there is a winner
  double p = 1;           // after Holm
};

// At level `alpha` for all arms together. What can't be tested (fewer than two seeds, no variance) is named and has
// left before the correction, so that it neither weakens the others nor wins.
std::vector<Comparison> compare_all(std::span<const Series> arms, std::span<const double> baseline,
                                    double alpha = 0.05);

}  // namespace effllm
