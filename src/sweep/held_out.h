// Seeds that nothing was chosen by, for the judgement of claims.
#pragma once
#include "sweep/plan.h"
#include "sweep/study_folder.h"

namespace effllm {

// Seeds 1001 and on of the value that each arm has chosen, as many as the study's `confirm`: a plan of them alone.
// ConfigError where the study has no `confirm`, or its own runs have not ended.
Plan held_out(const Plan& plan, const StudyFolder& folder);

}  // namespace effllm
