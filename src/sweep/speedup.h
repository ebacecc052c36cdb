// Effective speedup: how many times more the baseline has to spend than an arm, to come to the same loss.
#pragma once
#include <string>
#include <vector>

#include "sweep/curves.h"

namespace effllm {

struct Speedup {
  Budget budget = Budget::tokens;
  std::string none;          // why there is none
  double loss = 0;           // at which it is read: the least that every run of both has come down to
  double factor = 0;         // above 1: the arm gets there with less
  double low = 0, high = 0;  // of its interval over seeds; 0 where there is no spread to tell it from
  // The interval is wider than all factors that such evaluations could show, or than a factor of 100: the number says
  // nothing.
  bool undetermined = false;
};

// Of the curves that never rise through each run's evaluations; nothing is continued beyond them. Factors are means of
// logarithms: of pairs of seeds where the row is paired, Welch's otherwise.
Speedup speedup_of(const std::vector<RunCurve>& arm, const std::vector<RunCurve>& baseline, bool paired, Budget budget,
                   double level = 0.95);

// For each arm of the table those by tokens, FLOPs and seconds; empty for the baseline.
using ArmSpeedups = std::vector<std::vector<Speedup>>;
ArmSpeedups speedups_of(const StudyTable& table, const std::vector<ArmCurves>& curves, double level = 0.95);

// Rows for people, the header first; no rows where nothing is held against anything.
std::vector<std::vector<std::string>> rows_of(const StudyTable& table, const ArmSpeedups& all);
nlohmann::json to_json(const std::vector<Speedup>& all);
// What stands below those rows.
std::vector<std::string> footnotes(const StudyTable& table, const ArmSpeedups& all);

}  // namespace effllm
