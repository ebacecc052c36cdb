// Where not all seeds train every value that is tuned: which runs are wanted of those that a plan could have.
#pragma once
#include <vector>

#include "sweep/study_folder.h"

namespace effllm {

enum class Need {
  wanted,    // it is trained
  open,      // whether it is hangs on runs that have not ended
  blocked,   // the same, and one of these has failed
  unwanted,  // its value was not chosen
};

// Of each run of the plan, by the results that are there. Of the seeds up to `tune_seeds` all are wanted; of the others
// those of the value that these have chosen, by the least mean on the split that is chosen on.
std::vector<Need> needs_of(const StudyFolder& folder, const nlohmann::json& plan);

// Whether the run is among those that are still to come, as far as is known: of the values of which one will be chosen
// the first stands for that one.
bool counts(const Plan& plan, const std::vector<Need>& needs, size_t run);

// The plan with the runs alone that are wanted. As long as an arm has chosen nothing, each of its other seeds stands
// there once, named ARM.(chosen).sSEED, with no file: tables say that it is missing.
nlohmann::json settled(const StudyFolder& folder, nlohmann::json plan);

// The plan that a study's folder keeps, settled. DataError where it is no such folder.
nlohmann::json read_plan(const StudyFolder& folder);

}  // namespace effllm
