// How the loss of each arm fell: the evaluations in the journals of the runs that its table row is made of.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "sweep/compare.h"

namespace effllm {

// What training has cost so far: tokens, FLOPs by the model's count, seconds of training steps.
enum class Budget { tokens, flops, seconds };
inline constexpr Budget kBudgets[] = {Budget::tokens, Budget::flops, Budget::seconds};
std::string_view to_string(Budget);

struct CurvePoint {
  int64_t step = 0;
  double tokens = 0, flops = 0, seconds = 0;
  double loss = 0;  // of the split that is chosen on, in the table's unit
  double spent(Budget) const;
};
using RunCurve = std::vector<CurvePoint>;  // by step

struct ArmCurves {
  std::string arm;
  std::vector<RunCurve> seeds;
  std::string none;  // why there are none
};
// In the order of the table's arms. `plan`: that of the table.
std::vector<ArmCurves> curves_of(const StudyFolder& folder, const nlohmann::json& plan, const StudyTable& table);

// Over seeds, at the steps that all of them have: the mean of what was spent, the least, mean and largest loss.
struct MeanCurve {
  std::vector<double> spent, low, mean, high;
};
MeanCurve mean_curve(const std::vector<RunCurve>& seeds, Budget budget);

}  // namespace effllm
